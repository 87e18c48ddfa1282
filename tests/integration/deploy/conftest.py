"""One installation for all tests that leave it usable."""

from collections.abc import Iterator

import pytest

from impact.stack import Stack
from support.installation import Installation, installed


@pytest.fixture(scope="session")
def installation(stack: Stack) -> Iterator[Installation]:
    with installed(stack) as made:
        yield made
