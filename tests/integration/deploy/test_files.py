"""What stands in deploy/ is what the programs it is for accept."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from impact.engine.telemetry.names import METRICS, MetricKind
from support.programs import needed

DEPLOY = Path(__file__).parents[3] / "deploy"
EXAMPLE = (DEPLOY / ".env.example").read_text()


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dockerfile() -> None:
    run(Path(sys.executable).parent / "hadolint", DEPLOY / "Dockerfile")


def compose(tmp_path: Path, environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / ".env").write_text(environment)
    return subprocess.run(
        [
            *(needed("docker-compose"), "--env-file", str(tmp_path / ".env")),
            *("--file", str(DEPLOY / "compose.yaml"), "config"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose(tmp_path: Path) -> None:
    done = compose(tmp_path, re.sub(r"=$", "=some-secret", EXAMPLE, flags=re.MULTILINE))
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"primary", "replica", "redis", "node1", "node2", "haproxy"} <= set(services)
    published = [port for service in services.values() for port in service.get("ports", ())]
    # Nothing but the shop's door and the charts, and these on loopback.
    assert len(published) == 2
    assert all("127.0.0.1" in str(port) for port in published)


@pytest.mark.parametrize("secret", re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE))
def test_compose_refuses_to_start_without_a_secret(tmp_path: Path, secret: str) -> None:
    others = re.sub(rf"^(?!{secret}=)(\w+)=$", r"\1=some-secret", EXAMPLE, flags=re.MULTILINE)
    done = compose(tmp_path, others)
    assert done.returncode != 0
    assert "see deploy/.env.example" in done.stderr


def test_mounted_files_exist() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = [
        mount.split(":")[0]
        for service in services.values()
        for mount in service.get("volumes", ())
        if mount.startswith("./")
    ]
    assert mounts
    assert [mount for mount in mounts if not (DEPLOY / mount).exists()] == []


def test_haproxy() -> None:
    run(
        *(needed("haproxy"), "-c", "-f", DEPLOY / "haproxy.cfg"),
        IMPACT_BIND="127.0.0.1:1",
        IMPACT_STATS_BIND="127.0.0.1:2",
        IMPACT_NODE_1="127.0.0.1:1",
        IMPACT_NODE_2="127.0.0.1:2",
    )


def test_prometheus(tmp_path: Path) -> None:
    """Checked as a copy, whose token is where the test may put one."""
    for path in (DEPLOY / "prometheus").iterdir():
        text = path.read_text().replace("/tmp/", f"{tmp_path}/")  # noqa: S108 - the container's
        (tmp_path / path.name).write_text(text)
    (tmp_path / "metrics_token").write_text("some-token")
    run(needed("promtool"), "check", "config", tmp_path / "prometheus.yml")


def test_grafana_asks_for_what_there_is(tmp_path: Path) -> None:
    """Every metric that a panel names is given out, and Prometheus can read its expression."""
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "impact.json").read_text())
    suffixes = {
        MetricKind.COUNTER: ("_total",),
        MetricKind.GAUGE: ("",),
        MetricKind.HISTOGRAM: ("_count", "_sum", "_bucket"),
    }
    known = {m.prometheus + suffix for m in METRICS.values() for suffix in suffixes[m.kind]}
    labels = {label.replace(".", "_") for m in METRICS.values() for label in m.labels}
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert expressions
    for expression in expressions:
        named = set(re.findall(r"\b(?:impact|http|db)_[a-z_]+", expression))
        assert named - labels <= known, expression
    rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    run(needed("promtool"), "check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize("script", sorted((DEPLOY / "postgres").iterdir()), ids=lambda p: p.name)
def test_scripts_are_well_formed(script: Path) -> None:
    run("sh", "-n", script)
    assert os.access(script, os.X_OK)


def test_every_setting_has_its_reason() -> None:
    lines = (DEPLOY / "postgresql.conf").read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in settings if not re.search(r"# \w", line)] == []
    # Redis knows no comments at a line's end: they stand before it, or before its group.
    groups = (DEPLOY / "redis.conf").read_text().split("\n#")
    assert [group for group in groups[1:] if not group.startswith(" ")] == []
