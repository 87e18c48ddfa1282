"""Programs that only some tests need."""

import os
import shutil

import pytest


def needed(program: str, *, package: str | None = None) -> str:
    """Where the program is; skips the test that wants it, but fails it in CI. ``package`` is
    Debian's, where that is called otherwise."""
    found = shutil.which(program)
    if found is None:
        say = f"{program} is not installed: apt-get install {package or program}"
        pytest.fail(say) if os.environ.get("IMPACT_CI") else pytest.skip(say)
    return found
