"""A database of these tests' own, in which no relay runs that they did not start."""

import secrets
from collections.abc import Iterator

import msgspec
import pytest

from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack


@pytest.fixture(scope="session")
def quiet(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    name = f"quiet_{worker_id}"
    created = stack.create_database(name)
    migrations.upgrade(created.owner_url)
    yield created
    stack.drop_database(name)


@pytest.fixture(scope="session")
def quiet_settings(settings: Settings, quiet: Endpoints) -> Settings:
    return msgspec.structs.replace(
        settings,
        primary_url=quiet.primary_url,
        replica_urls=quiet.replica_urls,
        cache_service=f"quiet-{secrets.token_hex(4)}",
        relay_interval=0.05,
        relay_batch=10,
    )


@pytest.fixture
def apart_name(stack: Stack, worker_id: str) -> Iterator[str]:
    """The name of a database that is not there yet, for a log of its own."""
    name = f"apart_{worker_id}_{secrets.token_hex(3)}"
    yield name
    stack.drop_database(name)
