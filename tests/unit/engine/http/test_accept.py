"""What a client takes most gladly."""

import pytest

from impact.engine.http.accept import preferred, weight

OFFERED = {"application/json": "json", "text/csv": "csv"}


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("*/*", None),
        ("text/html", None),
        ("text/csv", "csv"),
        ("TEXT/CSV ; Q=0.3", "csv"),
        ("text/csv;q=0", None),
        ("text/csv;q=0, application/json", "json"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("application/json, text/csv", "json"),
        ("text/csv, application/json", "csv"),
        ("text/csv; header=present; q=0.2, application/json;q=0.3", "json"),
        ("text/html, */*;q=0.8", None),
        ("text/csv;q=0.9, */*;q=0.8", "csv"),
        ("text/csv;q=0.7, */*;q=0.8", None),
        ("text/csv;q=x, application/json;q=0.1", "json"),
    ],
)
def test_preferred(accept: str, chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [("", 1), ("q=0.5", 0.5), (" q = 0", 0), ("q=7", 1), ("q=-1", 0), ("q=", 0), ("level=1", 1)],
)
def test_weight(parameter: str, expected: float) -> None:
    assert weight(parameter) == expected
