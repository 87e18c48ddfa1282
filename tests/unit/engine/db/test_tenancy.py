"""Slugs, and what a transaction is told about its tenant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.context import system_context
from impact.engine.db.tenancy import begin, quote_literal, switch, validate_slug
from impact.errors import InvalidDataError


@pytest.mark.parametrize("slug", ["a", "hq", "shop-1", "a" * 63, "a-"])
def test_slugs(slug):
    assert validate_slug(slug) == slug


@pytest.mark.parametrize(
    "slug", ["", "A", "1a", "-a", "a_b", "a b", "a" * 64, "a\n", "é", "a'", "a\0", "\u0430"]
)
def test_no_slugs(slug):
    with pytest.raises(InvalidDataError):
        validate_slug(slug)
    with pytest.raises(InvalidDataError):
        switch(slug)
    for read_only in (True, False):
        with pytest.raises(InvalidDataError):
            begin(system_context(slug, "test"), read_only=read_only)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", "''"),
        ("a", "'a'"),
        ("it's", "'it''s'"),
        ("a\\b", " E'a\\\\b'"),
        ("\\'", " E'\\\\'''"),
    ],
)
def test_literals(text, quoted):
    assert quote_literal(text) == quoted


@given(st.text(), st.text())
def test_no_nul(before, after):
    with pytest.raises(InvalidDataError):
        quote_literal(f"{before}\0{after}")


def test_the_transaction_is_told_in_one_message():
    context = system_context("paris", "it's late")
    assert begin(context, read_only=True, timeout=1.5) == (
        "BEGIN READ ONLY; SET LOCAL impact.tenant_id = 'paris'; SET LOCAL statement_timeout = 1500"
    )
    assert begin(context, read_only=False) == (
        "BEGIN; SET LOCAL impact.tenant_id = 'paris'; SET LOCAL impact.announces = on;"
        " SET LOCAL impact.actor = 'system';"
        f" SET LOCAL impact.request_id = '{context.request_id}';"
        " SET LOCAL impact.reason = 'it''s late'"
    )
