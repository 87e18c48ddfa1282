"""The documentation's generated parts: what stands between ``<!-- impact ... -->`` and
``<!-- end -->`` is what that command prints. Run as a program, it writes them anew."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from impact.cli import main

DOCS = Path(__file__).parents[2] / "docs"
_GENERATED = re.compile(r"(?<=<!-- impact )([\w ./-]+?)( -->\n\n).*?\s*(?=<!-- end -->)", re.DOTALL)


def _run(match: re.Match[str]) -> str:
    result = CliRunner().invoke(main, shlex.split(match[1]), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return f"{match[1]}{match[2]}{result.stdout.rstrip()}\n\n"


def regenerated(page: Path) -> str:
    """The page's text with its generated parts as the commands print them now."""
    return _GENERATED.sub(_run, page.read_text())


if __name__ == "__main__":
    for each in sorted(DOCS.glob("*.md")):
        each.write_text(regenerated(each))
