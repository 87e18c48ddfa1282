"""The files of deploy/ at work: real servers, two nodes, HAProxy before them."""

import asyncio
import re

import asyncpg
import httpx
import pytest
import redis

from impact.ops.alerts.rules import RULES
from support.dev import free_port
from support.installation import (
    DEPLOY,
    Installation,
    answers,
    environment,
    start_node,
    until,
)
from support.programs import needed

pytestmark = pytest.mark.xdist_group("deploy")

FINDING = re.compile(r"^(\w[\w.]*) = '?([^'#]*?)'?\s+#", re.MULTILINE)
# What the tests start the servers with otherwise.
OURS = {"shared_buffers", "fsync"}
SHOWN = {"60s": "1min"}


def base(installation: Installation) -> str:
    return f"http://127.0.0.1:{installation.ports['haproxy']}"


@pytest.mark.parametrize("server", ["primary", "replica"])
async def test_postgres_takes_every_setting(installation: Installation, server: str) -> None:
    given = dict(FINDING.findall((DEPLOY / "postgresql.conf").read_text()))
    assert len(given) > 40
    connection = await asyncpg.connect(installation.url(server, "impact_app"))
    try:
        # In the file's own spelling: 2GB, 60s, on.
        current = {
            name: await connection.fetchval("SELECT current_setting($1)", name) for name in given
        }
    finally:
        await connection.close()
    different = {
        name: (value, current[name])
        for name, value in given.items()
        if name not in OURS and current[name] not in {value, SHOWN.get(value)}
    }
    assert different == {}


def test_redis_takes_every_setting(installation: Installation) -> None:
    url = environment(installation, "node1")["IMPACT_REDIS_URL"]
    given = [
        line.split(maxsplit=1)
        for line in (DEPLOY / "redis.conf").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    with redis.Redis.from_url(url, decode_responses=True) as client:
        current = client.config_get("*")
    for name, value in given:
        shown = value.strip('"').replace("1gb", str(2**30))
        if name == "client-output-buffer-limit":
            assert "pubsub 33554432 8388608 10" in current[name]
        else:
            assert current[name] == shown, name


async def test_the_replica_streams_and_the_roles_are_bound(installation: Installation) -> None:
    connection = await asyncpg.connect(installation.url("replica", "impact_app"))
    try:
        assert await connection.fetchval("SELECT pg_is_in_recovery()")
        assert await connection.fetchval("SELECT status FROM pg_stat_wal_receiver") == "streaming"
        held = await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname IN ('impact_app', 'impact_owner')"
            " AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
        )
        assert held == []
    finally:
        await connection.close()


def test_figures_are_for_those_inside(installation: Installation) -> None:
    for path in ("/metrics", "//metrics", "/%6detrics", "/ops", "/ops/events", "/metrics/"):
        answer = httpx.get(base(installation) + path)
        assert answer.status_code == 404, path
        assert "problem" not in answer.headers["content-type"], path
    inside = f"http://127.0.0.1:{installation.ports['inside']}"
    assert "haproxy_server_status" in httpx.get(f"{inside}/metrics").text


def test_prometheus_reads_both_nodes(installation: Installation) -> None:
    prometheus = needed("prometheus")
    directory, port = installation.directory / "prometheus", free_port()
    directory.mkdir()
    for path in (DEPLOY / "prometheus").glob("*.yml"):
        text = path.read_text().replace("/tmp/", f"{directory}/")  # noqa: S108 - the container's
        for node in ("node1", "node2"):
            text = text.replace(f"{node}:9000", f"127.0.0.1:{installation.ports[node]}")
        text = text.replace("haproxy:8404", f"127.0.0.1:{installation.ports['inside']}")
        (directory / path.name).write_text(text.replace("_interval: 10s", "_interval: 1s"))
    (directory / "metrics_token").write_text(installation.passwords["metrics"])
    installation.start(
        "prometheus",
        *(prometheus, f"--config.file={directory / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    )
    api = f"http://127.0.0.1:{port}/api/v1"
    until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"))

    def ask(query: str) -> dict[str, float]:
        found = httpx.get(f"{api}/query", params={"query": query}).json()["data"]["result"]
        return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}

    nodes = {f"127.0.0.1:{installation.ports[name]}" for name in ("node1", "node2")}
    until(lambda: {name for name, up in ask('up{job="impact"}').items() if up} == nodes)
    until(
        lambda: set(ask("sum by (instance) (http_server_request_duration_seconds_count)")) == nodes
    )
    assert ask("sum by (instance) (impact_processes)") == dict.fromkeys(nodes, 2.0)
    until(lambda: set(ask('up{job="haproxy"}').values()) == {1.0})

    def rules() -> list[str]:
        groups = httpx.get(f"{api}/rules").json()["data"]["groups"]
        return [rule["health"] for group in groups for rule in group["rules"]]

    until(lambda: rules() == ["ok"] * len(RULES))
    installation.kill("prometheus")


async def test_a_node_that_dies_is_not_noticed(installation: Installation) -> None:
    inside = f"http://127.0.0.1:{installation.ports['inside']}/;csv"
    answered: list[int] = []
    failed: list[int | str] = []
    done = asyncio.Event()

    async def browse(client: httpx.AsyncClient) -> None:
        while not done.is_set():
            try:
                answer = await client.get("/health/ready")
                (answered if answer.status_code == 200 else failed).append(answer.status_code)
            except httpx.HTTPError as error:
                failed.append(repr(error))

    async def say(name: str, state: str) -> None:
        line = re.compile(rf"^nodes,{name},.*,{state},", re.MULTILINE)
        await asyncio.to_thread(until, lambda: bool(line.search(httpx.get(inside).text)))

    async with httpx.AsyncClient(base_url=base(installation), timeout=10) as client:
        browsers = [asyncio.create_task(browse(client)) for _ in range(4)]
        installation.kill("node1")
        await say("node1", "DOWN")
        before = len(answered)
        start_node(installation, "node1")
        await say("node1", "UP")
        done.set()
        await asyncio.gather(*browsers)
    assert len(answered) > before > 0
    # Only what was under way in the node when it was killed may fail: one a connection.
    assert len(failed) <= len(browsers), failed
    assert answers(f"http://127.0.0.1:{installation.ports['node1']}/health/ready")
