"""The rules as Prometheus judges them: the same values fire, and the same do not."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from impact.ops.alerts.prometheus import rules_file
from impact.ops.alerts.rules import RULES
from support.programs import needed

FILE = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules.yml"


def test_the_file_is_what_the_command_writes() -> None:
    assert FILE.read_text() == rules_file(RULES)


def judged(tmp_path: Path, series: dict[str, str], alert: str, minute: str, labels: object) -> None:
    """Ask promtool whether the alert fires then with these labels; None for no alert at all."""
    expected = [] if labels is None else [{"exp_labels": labels}]
    case = {
        "rule_files": [str(FILE)],
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "alert_rule_test": [
                    {"eval_time": minute, "alertname": alert, "exp_alerts": expected}
                ],
            }
        ],
    }
    # JSON is YAML.
    (tmp_path / "case.yml").write_bytes(msgspec.json.encode(case))
    done = subprocess.run(
        [needed("promtool"), "test", "rules", str(tmp_path / "case.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    # promtool wants the annotations spelled out as well: the labels are what is compared here.
    fired = "exp:[" in text and "got:[\n" in text
    if labels is None:
        assert done.returncode == 0, text
    else:
        assert fired, text
        for name, value in dict(labels).items():  # type: ignore[call-overload]
            assert f'{name}="{value}"' in text.partition("got:")[2], text


def pool(used: str) -> dict[str, str]:
    return {
        'db_client_connection_count{db_client_connection_pool_name="primary",'
        'db_client_connection_state="used"}': used,
        'db_client_connection_max{db_client_connection_pool_name="primary"}': "100x60",
    }


WHERE = {"db_client_connection_pool_name": "primary", "severity": "critical"}


@pytest.mark.parametrize(
    ("used", "labels"),
    [
        ("81x60", WHERE),
        ("79x60", None),
        # It fired at 81 and stays until 70.
        ("81 75x60", WHERE),
        ("75x60", None),
        ("81 69x60", None),
    ],
)
def test_pool(tmp_path: Path, used: str, labels: object) -> None:
    judged(tmp_path, pool(used), "ImpactPoolUse", "5m", labels)


@pytest.mark.parametrize(("misses", "labels"), [(26, {"severity": "warning"}), (24, None)])
def test_hit_rate(tmp_path: Path, misses: int, labels: object) -> None:
    series = {
        'impact_cache_lookups_total{impact_cache_tier="l1",impact_cache_hit="true"}': (
            f"0+{100 - misses}x60"
        ),
        'impact_cache_lookups_total{impact_cache_tier="l1",impact_cache_hit="false"}': (
            f"0+{misses}x60"
        ),
        'impact_cache_lookups_total{impact_cache_tier="database",impact_cache_hit="false"}': (
            f"0+{misses}x60"
        ),
    }
    judged(tmp_path, series, "ImpactCacheHitRate", "8m", labels)


@pytest.mark.parametrize(("errors", "labels"), [(3, {"severity": "critical"}), (0, None)])
def test_error_rate(tmp_path: Path, errors: int, labels: object) -> None:
    name = "http_server_request_duration_seconds_count"
    series = {f'{name}{{http_response_status_code="200"}}': "0+100x60"}
    if errors:
        series[f'{name}{{http_response_status_code="503"}}'] = f"0+{errors}x60"
    judged(tmp_path, series, "ImpactErrorRate", "8m", labels)
