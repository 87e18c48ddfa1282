"""What Impact refuses to start with, and what it says then."""

import socket

import msgspec
import pytest
from sqlalchemy.engine import make_url

from impact.app import create_app
from impact.engine.runtime import open_runtime
from impact.errors import ConfigurationError


async def refusal(settings, **changes) -> str:
    changed = msgspec.structs.replace(settings, **{"replica_urls": (), **changes})
    with pytest.raises(ConfigurationError) as raised:
        async with open_runtime(changed):
            pytest.fail("it started")
    return raised.value.message


@pytest.fixture
def closed_port():
    """A port on which nobody listens: it stays taken, and unopened, until the test ends."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_the_owner(settings, endpoints):
    message = await refusal(settings, primary_url=endpoints.owner_url)
    assert "impact_owner" in message
    assert "owns tables" in message


async def test_a_superuser(settings, endpoints):
    assert "superuser" in await refusal(settings, primary_url=endpoints.admin_url)


async def test_a_superuser_on_a_replica(settings, endpoints):
    message = await refusal(settings, replica_urls=endpoints.replica_admin_urls)
    assert "superuser" in message


async def test_a_database_without_a_schema(settings, stack, worker_id):
    name = f"bare_{worker_id}"
    bare = stack.create_database(name)
    try:
        message = await refusal(settings, primary_url=bare.primary_url)
    finally:
        stack.drop_database(name)
    assert "has no schema yet" in message


async def test_no_server(settings, closed_port):
    url = make_url(settings.primary_url).set(host="127.0.0.1", port=closed_port)
    message = await refusal(settings, primary_url=url.render_as_string(hide_password=False))
    assert f"127.0.0.1:{closed_port}" in message
    assert "IMPACT_PRIMARY_URL" in message
    assert str(url.password) not in message


async def test_a_wrong_password(settings):
    url = make_url(settings.primary_url).set(password="hunter2")
    message = await refusal(settings, primary_url=url.render_as_string(hide_password=False))
    assert "hunter2" not in message


async def test_a_replica_that_is_away_is_no_obstacle(settings, shop, closed_port):
    url = make_url(settings.primary_url).set(host="127.0.0.1", port=closed_port)
    away = (url.render_as_string(hide_password=False),)
    changed = msgspec.structs.replace(settings, replica_urls=away)
    async with open_runtime(changed) as runtime:
        assert not runtime.database.nodes.nodes[1].usable
        async with runtime.database.read(shop.context()) as session:
            assert session.tenant == shop.tenant


async def test_making_the_application_opens_nothing(settings, closed_port):
    url = make_url(settings.primary_url).set(host="127.0.0.1", port=closed_port)
    changed = msgspec.structs.replace(
        settings, primary_url=url.render_as_string(hide_password=False), replica_urls=()
    )
    app = create_app(changed)
    with pytest.raises(ExceptionGroup) as raised:
        async with app.lifespan():
            pytest.fail("it started")
    assert raised.value.subgroup(ConfigurationError) is not None
