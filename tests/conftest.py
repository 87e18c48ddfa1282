"""Fixtures on real servers: one stack for the run, one migrated database per test worker."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from _pytest.nodeid import NodeId
from litestar import Litestar

from impact import settings as settings_module
from impact.app import create_app
from impact.context import RequestContext, system_context
from impact.engine.runtime import Runtime
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack
from support.client import PatientClient
from support.lifespan import started
from support.shops import Shop, open_shop

_PLACE = "IMPACT_TEST_STACK"


def pytest_configure(config: pytest.Config) -> None:
    """The main process names the stack's place; test workers inherit it."""
    if not hasattr(config, "workerinput"):
        place = Path(tempfile.mkdtemp(prefix="impact-tests-"))
        # The servers' own user passes through when the tests run as root.
        place.chmod(0o711)
        os.environ[_PLACE] = str(place)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep ``xdist_group`` together: xdist 3.8 writes the group to an attribute that pytest 9.2
    no longer reads, so that groups were spread over the workers without a word."""
    if getattr(config.option, "loadgroup", False):
        for item in items:
            grouped = getattr(item, "_nodeid", item.nodeid)
            if grouped != item.nodeid:
                item._id = NodeId.parse(grouped)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    place = os.environ.get(_PLACE)
    if place and not hasattr(config, "workerinput"):
        Stack(Path(place) / "stack", durable=False).down()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that all workers share; whoever comes first starts it."""
    found = Stack(Path(os.environ[_PLACE]) / "stack", replicas=1, durable=False)
    found.up()
    return found


@pytest.fixture(scope="session")
def endpoints(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    """This worker's own database, migrated."""
    name = f"test_{worker_id}"
    created = stack.create_database(name)
    migrations.upgrade(created.owner_url)
    yield created
    stack.drop_database(name)


@pytest.fixture(scope="session")
def settings(endpoints: Endpoints, worker_id: str) -> Settings:
    return settings_module.load(
        {},
        primary_url=endpoints.primary_url,
        replica_urls=",".join(endpoints.replica_urls),
        redis_url=endpoints.redis_url,
        # One Redis for all test workers, and a part of it for each database.
        cache_service=f"test-{worker_id}",
        # A machine that stalls does not make Redis seem away.
        redis_timeout=1.0,
        cache_silence=5.0,
        signing_keys=f"test:{secrets.token_urlsafe(32)}",
        # The cost of a password is the attacker's, not the tests'.
        password_memory_kib=8,
        password_time_cost=1,
        spool_dir=f"{os.environ[_PLACE]}/spool-{worker_id}",
    )


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[Litestar]:
    async with started(create_app(settings)) as made:
        yield made


@pytest.fixture(scope="session")
def runtime(app: Litestar) -> Runtime:
    found: Runtime = app.state.runtime
    return found


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client that behaves: it sends back the newest consistency token it was given."""
    async with PatientClient(app) as opened:
        yield opened


@pytest.fixture
async def shop(runtime: Runtime, client: httpx.AsyncClient) -> Shop:
    """A shop of this test's own."""
    return await open_shop(runtime, client)


@pytest.fixture
async def other_shop(runtime: Runtime, client: httpx.AsyncClient) -> Shop:
    """Another tenant, which must never see the first one's rows."""
    return await open_shop(runtime, client)


@pytest.fixture(scope="session")
async def headquarters(runtime: Runtime) -> Shop:
    return await open_shop(runtime, None, "hq")


@pytest.fixture
def hq(headquarters: Shop) -> dict[str, str]:
    """Headers of an owner of headquarters whose role spans tenants."""
    return headquarters.admin


@pytest.fixture
def context(shop: Shop) -> RequestContext:
    return system_context(shop.tenant, "test")
