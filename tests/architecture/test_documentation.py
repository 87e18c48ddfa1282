"""The documentation keeps up: every setting stands in docs/configuration.md."""

import re
from pathlib import Path

import msgspec

from impact.settings import Settings, variable

ROOT = Path(__file__).parents[2]


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(IMPACT_\w+)` \| ([^|]*) \|", text, re.MULTILINE))
    fields = {variable(field.name): field for field in msgspec.structs.fields(Settings)}
    assert set(fields) <= set(rows), sorted(set(fields) - set(rows))
    for name, field in fields.items():
        if field.required:
            assert rows[name].strip() == "none, required", name
        elif field.default is not msgspec.NODEFAULT and field.default not in (None, ()):
            assert rows[name].strip().strip("`") == str(field.default), name


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text
