"""The documentation keeps up: its settings, tables, links and paths are those of the code."""

import re
from pathlib import Path

import msgspec
import pytest

import impact
from impact.domains.identity.bootstrap import STANDARD_ROLES
from impact.medusa import IGNORED_PARAMETERS
from impact.settings import Settings, variable
from support.pages import DOCS, regenerated

ROOT = Path(__file__).parents[2]
PAGES = sorted(DOCS.glob("*.md"))
OTHER_VARIABLES = {
    "IMPACT_APP_ROLE",
    "IMPACT_MIGRATION_LOCK_TIMEOUT",
    "IMPACT_MIGRATION_STATEMENT_TIMEOUT",
    "IMPACT_PG_BINDIR",
    "IMPACT_REPLICAS",
}
"""Read by migrations and by the embedded stack, not by the server."""


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestPage:
    def test_generated_parts_are_what_the_commands_print(self, page: Path) -> None:
        assert page.read_text() == regenerated(page), f"{page.name} is out of date: make docs"

    def test_it_has_one_title(self, page: Path) -> None:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1

    def test_lines_fit(self, page: Path) -> None:
        long = [line for line in page.read_text().splitlines() if len(line) > 100]
        assert [line for line in long if not line.startswith("|")] == []

    def test_links_lead_somewhere(self, page: Path) -> None:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), target

    def test_the_code_it_names_is_there(self, page: Path) -> None:
        _, _, ending = page.read_text().partition("## Where it is in the code")
        for path in re.findall(r"`([\w./-]+/[\w./-]*)`", ending):
            assert (ROOT / path).exists(), path

    def test_the_settings_it_names_are_there(self, page: Path) -> None:
        known = {variable(field.name) for field in msgspec.structs.fields(Settings)}
        named = set(re.findall(r"IMPACT_[A-Z_]+", page.read_text()))
        assert named - known <= OTHER_VARIABLES

    def test_the_index_lists_it(self, page: Path) -> None:
        if page.name != "README.md":
            assert f"]({page.name})" in (ROOT / "docs" / "README.md").read_text()


def test_every_reason_for_a_rejected_row_is_explained() -> None:
    text = (DOCS / "import.md").read_text()
    folder = Path(impact.__file__).parent / "flows" / "imports"
    reasons = {
        reason
        for path in folder.glob("*.py")
        for reason in re.findall(r'Rejected\("(\w+)"', path.read_text())
    }
    assert reasons
    assert {reason for reason in reasons if f"`{reason}`" not in text} == set()


def test_what_is_ignored_is_listed() -> None:
    rows = (DOCS / "api.md").read_text().splitlines()
    listed = [row for row in rows if row.startswith("| `/")]
    assert [row for row in listed if row.count("|") == 4 and "/schema" not in row] == [
        f"| `{path}` | `{name}` | {reason} |"
        for path, names in IGNORED_PARAMETERS.items()
        for name, reason in names.items()
    ]


def test_the_standard_roles_are_listed() -> None:
    rows = (DOCS / "rbac.md").read_text().splitlines()
    for name, (_, permissions) in STANDARD_ROLES.items():
        listed = ", ".join(f"`{permission}`" for permission in permissions)
        assert f"| `{name}` | {listed} |" in rows
