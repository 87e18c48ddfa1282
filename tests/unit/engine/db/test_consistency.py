"""WAL positions and the tokens that carry them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.engine.db import nodes
from impact.engine.db.consistency import format_token, parse_lsn, parse_token
from impact.engine.db.nodes import PrimaryTimeline
from impact.errors import InvalidDataError

positions = st.integers(0, 2**64 - 1)


@given(positions, st.integers(0, 2**52 - 1))
def test_tokens_round_trip(position, raised_at):
    assert parse_token(format_token(position, raised_at)) == (position, raised_at)


@given(positions, positions, st.integers(0, 2**52 - 1))
def test_the_larger_token_is_newer(one, other, raised_at):
    tokens = [int(format_token(position, raised_at), 16) for position in (one, other)]
    assert (tokens[0] < tokens[1]) == (one < other)


@given(positions, positions)
def test_positions_compare_as_in_postgresql(one, other):
    def lsn(position):
        return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"

    assert parse_lsn(lsn(one)) == one
    assert (parse_lsn(lsn(one)) < parse_lsn(lsn(other))) == (one < other)


@given(st.text(max_size=20))
def test_nothing_else_is_a_token(text):
    if 0 < len(text) <= 16 and set(text) <= set("0123456789ABCDEF"):
        assert parse_token(text) == (int(text, 16), 0)
        return
    if re.fullmatch("[0-9A-F]{18,29}", text):
        return
    with pytest.raises(InvalidDataError) as raised:
        parse_token(text)
    assert raised.value.problems[0].parameter == "x-consistency-token"


@pytest.mark.parametrize(
    "token", ["", "ff", "F" * 17, "F\n", " F", "0x1", "+1", "_1", "1_", "1_0_0", "\u0661"]
)
def test_no_token(token):
    with pytest.raises(InvalidDataError):
        parse_token(token)


class TestTimeline:
    @pytest.fixture
    def clock(self, monkeypatch):
        class Clock:
            now = 100.0

            def monotonic(self):
                return self.now

        clock = Clock()
        monkeypatch.setattr(nodes, "time", clock)
        return clock

    def test_nothing_seen_yet(self, clock):
        assert PrimaryTimeline().lag(0) == 0.0

    def test_seconds_since_the_primary_moved_on(self, clock):
        timeline = PrimaryTimeline()
        for now, position in ((100, 10), (101, 20), (103, 30)):
            clock.now = now
            timeline.note(position)
        clock.now = 110
        lags = [timeline.lag(position) for position in (5, 10, 15, 20, 29, 30, 31)]
        assert lags == [10, 9, 9, 7, 7, 0, 0]

    def test_an_idle_primary_is_no_lag(self, clock):
        timeline = PrimaryTimeline()
        for now in (100, 200, 300):
            clock.now = now
            timeline.note(10)
        assert timeline.lag(10) == 0
        assert timeline.lag(9) == 200

    def test_another_timeline_starts_anew(self, clock):
        timeline = PrimaryTimeline()
        timeline.note(30)
        timeline.note(20)
        clock.now = 150
        assert timeline.lag(10) == 0
        timeline.note(25)
        clock.now = 151
        assert timeline.lag(10) == 1

    def test_the_oldest_are_forgotten(self, clock):
        timeline = PrimaryTimeline(length=2)
        for now in (1, 2, 3):
            clock.now = now
            timeline.note(now * 10)
        # At least so far behind: what was before is not known any more.
        assert timeline.lag(5) == 1
