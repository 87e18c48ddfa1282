"""Entity tags, and what the conditions that name them mean (RFC 9110, 13.1)."""

import pytest

from impact.engine.http.conditions import is_match, make_etag, names_content, names_version

TAG = make_etag("aaaa", "bbbb", "gzip")


def test_form() -> None:
    assert TAG == '"aaaa.bbbb-gzip"'
    assert make_etag("", "bbbb") == '"bbbb"'


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"x", {TAG} ,"y"', True),
        ("*", True),
        ('"cccc.bbbb-gzip"', True),
        ('"bbbb-gzip"', True),
        ('"aaaa.bbbb-zstd"', False),
        ('"aaaa.bbbb"', True),
        ('"aaaa.cccc-gzip"', False),
        ("bbbb-gzip", False),
        ("", False),
        ('"' * 5000, False),
    ],
)
def test_naming_the_content(condition: str, named: bool) -> None:
    assert names_content(condition, "bbbb", "gzip") is named


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        (TAG, TAG),
        ('"aaaa.bbbb"', '"aaaa.bbbb"'),
        ('"aaaa.bbbb-zstd"', None),
        ('"bbbb"', None),
        ("*", None),
    ],
)
def test_naming_the_version(condition: str, answer: str | None) -> None:
    """What ``*`` names is not known before something is loaded."""
    assert names_version(condition, "aaaa", "gzip") == answer


@pytest.mark.parametrize(
    ("condition", "match"),
    [
        (TAG, True),
        ('"bbbb"', True),
        ("*", True),
        (f"W/{TAG}", False),
        (f'W/{TAG}, "bbbb"', True),
        ('"aaaa.cccc"', False),
        ("", False),
    ],
)
def test_matching(condition: str, match: bool) -> None:
    assert is_match(condition, "bbbb") is match
