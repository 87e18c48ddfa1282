"""Stacks of these tests' own: they are killed, filled and broken, so none is shared with others."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from impact.stack import Stack

MakeStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Not tmp_path: below pytest's directory the user of the servers could not pass."""
    directory = Path(tempfile.mkdtemp(prefix="impact-stack-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def running(place: Path) -> Iterator[Stack]:
    """One stack with a replica for all tests that leave it usable."""
    stack = Stack(place / "shared", replicas=1, durable=False)
    stack.up()
    yield stack
    stack.down()


@pytest.fixture
def make_stack(place: Path, request: pytest.FixtureRequest) -> Iterator[MakeStack]:
    """A stack of the test's own, by default without replicas; stopped at its end."""
    directory = place / request.node.name

    def make(replicas: int = 0, log: Callable[[str], None] | None = None) -> Stack:
        return Stack(directory, replicas=replicas, durable=False, log=log)

    yield make
    make().down()
