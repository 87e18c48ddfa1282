"""Handles and search patterns."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.schemas import Handle, bounded_metadata
from impact.engine.text import like_pattern, slugify
from impact.errors import InvalidDataError


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Café crème", "cafe-creme"),
        ("  --Blue  Shirt!-- ", "blue-shirt"),
        ("ﬁne ①", "fine-1"),
        ("日本", "fallback"),
        ("", "fallback"),
        ("-", "fallback"),
        ("a" * 300, "a" * 200),
        ("a" * 199 + " b", "a" * 199),
    ],
)
def test_slugs(text, slug):
    assert slugify(text, "fallback") == slug


@given(st.text())
def test_every_slug_is_a_handle(text):
    slug = slugify(text, "fallback")
    assert msgspec.convert(slug, Handle) == slug
    assert slugify(slug, "other") == slug


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (None, None),
        ("", None),
        ("a", "%a%"),
        ("50%", "%50\\%%"),
        ("a_b", "%a\\_b%"),
        ("a\\b", "%a\\\\b%"),
    ],
)
def test_patterns(text, pattern):
    assert like_pattern(text) == pattern


def like(pattern: str, text: str) -> bool:
    """LIKE as PostgreSQL's manual, 9.7.1, puts it."""
    parts, letters = [], iter(pattern)
    for letter in letters:
        if letter == "\\":
            parts.append(re.escape(next(letters)))
        else:
            parts.append({"%": ".*", "_": "."}.get(letter, re.escape(letter)))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


alphabet = st.text("ab%_\\", min_size=1, max_size=4)


@given(alphabet, alphabet)
def test_a_pattern_finds_what_contains_the_text(text, other):
    pattern = like_pattern(text)
    assert pattern is not None
    assert like(pattern, other + text + other)
    assert like(pattern, other) is (text in other)


class TestMetadata:
    @pytest.mark.parametrize(
        "metadata",
        [None, {}, {"a": [1, {"b": None}]}, {"a": "\\u0000"}, {"a": "x" * 16_000}],
        ids=lambda value: str(value)[:20],
    )
    def test_kept_as_it_is(self, metadata):
        assert bounded_metadata(metadata) is metadata

    def nested(self, levels):
        value: object = "x"
        for level in range(levels):
            value = {"a": value} if level % 2 else [value]
        return {"a": value}

    def test_levels(self):
        assert bounded_metadata(self.nested(31))
        for levels in (32, 5000):
            with pytest.raises(InvalidDataError):
                bounded_metadata(self.nested(levels))

    @pytest.mark.parametrize(
        "metadata", [{"a": "x" * 17_000}, {"a": "\0"}, {"\0": 1}, {"a": [{"b\0": 1}]}]
    )
    def test_refused_with_its_place(self, metadata):
        with pytest.raises(InvalidDataError) as raised:
            bounded_metadata(metadata, "variants/0/metadata")
        assert raised.value.problems[0].pointer == "/variants/0/metadata"
