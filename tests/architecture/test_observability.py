"""What is given out is what is declared, and what is declared is documented: both ways round."""

import ast
import re
from pathlib import Path

import impact
from impact.engine.telemetry.names import DURATIONS, LOG_ATTRIBUTES, METRICS, RESOURCE, SPANS
from impact.engine.telemetry.series import Kind
from support.pages import DOCS

TELEMETRY = Path(impact.__file__).parent / "engine" / "telemetry"
PAGE = (DOCS / "observability.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    _, _, below = PAGE.partition(f"\n## {heading}\n")
    found = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert found is not None
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in found[0].splitlines()[2:]
    ]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def strings(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {value for value in found if isinstance(value, str)}


def test_every_metric_is_documented_as_it_is() -> None:
    assert [
        (code(name), code(prometheus), kind, code(labels), text)
        for name, prometheus, kind, labels, text in rows("Metrics")
    ] == [([m.name], [m.prometheus], str(m.kind), list(m.labels), m.help) for m in METRICS.values()]


def test_every_span_is_documented_as_it_is() -> None:
    assert [(code(name), kind, code(held)) for name, kind, held, _ in rows("Traces")] == [
        ([span.name], span.kind, list(span.attributes)) for span in SPANS.values()
    ]


def test_resource_and_log_attributes_are_documented() -> None:
    for name in (*RESOURCE, *LOG_ATTRIBUTES):
        assert f"`{name}`" in PAGE


def test_every_kind_of_series_has_its_metric() -> None:
    assert set(DURATIONS) == set(Kind)


def test_no_attribute_is_given_out_that_is_not_declared() -> None:
    declared = {name for span in SPANS.values() for name in span.attributes} | set(RESOURCE)
    declared |= set(LOG_ATTRIBUTES)
    looks = re.compile(
        r"(http|db|url|network|client|server|error|impact|service|process)\.[a-z_.]+"
    )
    for name in ("otlp_spans.py", "otlp.py", "telemetry.py"):
        given = {s for s in strings(TELEMETRY / name) if looks.fullmatch(s)}
        modules = {s for s in given if s.startswith("impact.engine")}
        assert given - modules - declared - set(METRICS) == set(), name


def test_no_attribute_is_declared_that_is_not_given_out() -> None:
    files = ("otlp_spans.py", "otlp.py", "otlp_logs.py", "logs.py", "telemetry.py")
    given = set().union(*(strings(TELEMETRY / name) for name in files))
    declared = {name for span in SPANS.values() for name in span.attributes}
    assert declared | set(RESOURCE) | set(LOG_ATTRIBUTES) <= given


def test_no_metric_is_declared_that_nobody_gives_out() -> None:
    source = Path(impact.__file__).parent
    given = set().union(
        *(strings(path) for path in source.rglob("*.py") if path.name != "names.py")
    )
    durations = {metric.name for metric in DURATIONS.values()}
    assert set(METRICS) - durations - given <= {"impact.duration.quantile"}
