"""Programs that only some tests need."""

import os
import shutil

import pytest


def needed(program: str) -> str:
    """Where the program is; skips the test that wants it, but fails it in CI."""
    found = shutil.which(program)
    if found is None:
        say = f"{program} is not installed: apt-get install {program}"
        pytest.fail(say) if os.environ.get("IMPACT_CI") else pytest.skip(say)
    return found
