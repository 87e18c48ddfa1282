"""``impact tenant open``: how a platform on servers of one's own gets its headquarters."""

import json
from collections.abc import Iterator

import pytest

from impact.ops import migrations
from impact.stack import Endpoints, Stack
from support.dev import impact


@pytest.fixture
def fresh(stack: Stack, worker_id: str) -> Iterator[Endpoints]:
    name = f"fresh_{worker_id}"
    endpoints = stack.create_database(name)
    migrations.upgrade(endpoints.owner_url)
    yield endpoints
    stack.drop_database(name)


def test_headquarters_is_opened_once(fresh: Endpoints) -> None:
    environment = {
        "IMPACT_PRIMARY_URL": fresh.primary_url,
        "IMPACT_SIGNING_KEYS": "k:" + "x" * 40,
    }
    arguments = ("tenant", "open", "hq", "--email", "owner@example.com", "--json")
    opened = impact(*arguments, **environment)
    assert opened.returncode == 0, opened.stderr
    assert json.loads(opened.stdout)["publishable_api_key"].startswith("pk_hq_")
    again = impact(*arguments, **environment)
    assert again.returncode == 1
    assert len(again.stderr.strip().splitlines()[-1:]) == 1
    refused = impact("tenant", "open", "No Slug", "--email", "a@example.com", **environment)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


def test_servers_of_ones_own_need_signing_keys(fresh: Endpoints) -> None:
    result = impact(
        "token", "--tenant", "hq", IMPACT_PRIMARY_URL=fresh.primary_url, IMPACT_SIGNING_KEYS=""
    )
    assert result.returncode == 1
    assert "IMPACT_SIGNING_KEYS is not set" in result.stderr
