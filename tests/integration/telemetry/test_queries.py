"""``impact queries``: our figures beside PostgreSQL's, plans, and what to do where one is away."""

from collections.abc import Iterator

import asyncpg
import msgspec
import pytest

from impact.stack import Stack
from support.dev import free_port, impact


@pytest.fixture(scope="module")
def environ(endpoints, settings) -> dict[str, str]:
    """What the command needs, with a port at which nobody listens."""
    return {
        "IMPACT_PRIMARY_URL": endpoints.primary_url,
        "IMPACT_REPLICA_URLS": ",".join(endpoints.replica_urls),
        "IMPACT_SIGNING_KEYS": settings.signing_keys,
        "IMPACT_PORT": str(free_port()),
    }


class TestTop:
    async def test_it_shows_the_databases_figures_without_a_server(self, client, shop, environ):
        await client.get("/store/products", headers=shop.store)
        result = impact("queries", "top", "--json", "--limit", "200", **environ)
        assert result.returncode == 0, result.stderr
        found = msgspec.json.decode(result.stdout)
        rows = {row["name"]: row for row in found["queries"]}
        assert rows["catalog.store_product_list"]["db_calls"] >= 1
        assert rows["catalog.store_product_list"]["count"] is None
        assert "--url" in found["notes"][0]

    def test_a_url_that_is_none(self, environ):
        result = impact("queries", "top", "--url", "file:///etc/passwd", **environ)
        assert result.returncode == 1
        assert "http://" in result.stderr


class TestExplain:
    def test_the_plan_of_a_statement(self, environ):
        result = impact("queries", "explain", "checkout.take_stock", "--json", **environ)
        assert result.returncode == 0, result.stderr
        (plan,) = msgspec.json.decode(result.stdout)
        assert plan["plan"]["Node Type"]
        assert len(plan["plan_hash"]) == 12
        assert "inventory_level" in plan["text"]

    def test_a_read_model_that_was_not_used_yet(self, environ):
        result = impact("queries", "explain", "catalog.store_product_list", **environ)
        assert result.returncode == 0, result.stderr
        assert "Query Identifier" in result.stdout

    def test_one_that_does_not_exist(self, environ):
        result = impact("queries", "explain", "no.such", **environ)
        assert result.returncode == 1
        assert "impact queries top" in result.stderr


@pytest.fixture
async def bare(stack: Stack) -> Iterator[str]:
    """The URL of a database without the extension."""
    made = stack.create_database("without_statistics")
    admin = await asyncpg.connect(made.admin_url)
    await admin.execute("DROP EXTENSION pg_stat_statements")
    await admin.close()
    yield made.primary_url
    stack.drop_database("without_statistics")


async def test_without_the_extension_it_says_what_to_do(bare, environ):
    result = impact("queries", "top", **{**environ, "IMPACT_PRIMARY_URL": bare})
    assert result.returncode == 0, result.stderr
    assert "CREATE EXTENSION pg_stat_statements" in result.stderr
