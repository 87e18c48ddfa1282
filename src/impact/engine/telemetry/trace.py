"""What one request did, noted as it goes: small lists, of which spans are made if somebody wants
them. Whether that is so is known at the end: a sampled request's are kept, and those of one that
failed or was slow.
"""

import random
import re
import time
from typing import Any, NamedTuple

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MOST_SPANS = 500
_LONGEST_STATE = 512
_LONGEST_BAGGAGE = 8192


class Parent(NamedTuple):
    """The caller's position in its trace, of the W3C headers traceparent and tracestate."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str


class Noted:
    """One span to be. ``detail`` is what its kind says of itself; ``parent`` is the number of the
    span it is in, -1 for the request itself; times are of perf_counter_ns."""

    __slots__ = ("began", "detail", "ended", "error", "kind", "name", "parent")

    def __init__(self, kind: str, name: str, parent: int, began: int) -> None:
        self.kind = kind
        self.name = name
        self.parent = parent
        self.began = began
        self.ended = 0
        self.detail: tuple[Any, ...] = ()
        self.error: BaseException | None = None


class Trace:
    """``spans`` are those inside the request's own; None where nobody will ask for them: then it
    only passes the caller's ids on."""

    __slots__ = (
        "baggage",
        "current",
        "dropped",
        "kept",
        "parent",
        "sampled",
        "span_id",
        "spans",
        "trace_id",
    )

    def __init__(
        self,
        parent: Parent | None,
        trace_id: int,
        *,
        sampled: bool,
        recording: bool,
        baggage: str = "",
    ) -> None:
        self.parent = parent
        self.trace_id = trace_id
        self.span_id = random.getrandbits(64) or 1
        self.sampled = sampled
        self.baggage = baggage
        self.kept = ""
        self.dropped = 0
        self.current = -1
        self.spans: list[Noted] | None = [] if recording else None

    def begin(self, kind: str, name: str, began: int | None = None) -> Noted | None:
        """A span inside which others may be; give it to ``end``."""
        spans = self.spans
        if spans is None:
            return None
        if len(spans) >= _MOST_SPANS:
            self.dropped += 1
            return None
        noted = Noted(kind, name, self.current, began or time.perf_counter_ns())
        self.current = len(spans)
        spans.append(noted)
        return noted

    def end(
        self,
        noted: Noted | None,
        detail: tuple[Any, ...] = (),
        error: BaseException | None = None,
    ) -> None:
        if noted is not None:
            noted.ended = time.perf_counter_ns()
            noted.detail = detail
            noted.error = error
            self.current = noted.parent

    def leaf(
        self,
        kind: str,
        name: str,
        began: int,
        ended: int,
        detail: tuple[Any, ...] = (),
        error: BaseException | None = None,
    ) -> None:
        """A span that is over and holds no other."""
        spans = self.spans
        if spans is None:
            return
        if len(spans) >= _MOST_SPANS:
            self.dropped += 1
            return
        noted = Noted(kind, name, self.current, began)
        noted.ended, noted.detail, noted.error = ended, detail, error
        spans.append(noted)

    def close(self) -> list[Noted]:
        """The spans inside; whatever goes on after the request adds none."""
        spans, self.spans = self.spans, None
        return spans or []

    @property
    def hex(self) -> str:
        """The trace's id as logs and problem details show it."""
        return f"{self.trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """Our position, for whom we call and for the answer (W3C Trace Context)."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.sampled else '00'}"

    def outgoing(self) -> dict[str, str]:
        """Headers that tell a server we call which trace this is."""
        headers = {"traceparent": self.traceparent}
        if self.parent is not None and self.parent.state:
            headers["tracestate"] = self.parent.state
        if self.baggage:
            headers["baggage"] = self.baggage
        return headers


def new_trace_id() -> int:
    return random.getrandbits(128) or 1


def read_parent(headers: dict[bytes, bytes]) -> Parent | None:
    """The caller's trace, or None where the header is absent or wrong: then ours begins here.

    W3C Trace Context, 3.2: version ff and ids of zeros are invalid; a later version is read as
    far as it is known.
    """
    found = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest) or not int(trace_id, 16):
        return None
    if not int(span_id, 16):
        return None
    state = headers.get(b"tracestate", b"").decode("latin-1")
    return Parent(
        int(trace_id, 16),
        int(span_id, 16),
        bool(int(flags, 16) & 1),
        state if len(state) <= _LONGEST_STATE else "",
    )


def read_baggage(headers: dict[bytes, bytes]) -> str:
    """The caller's baggage, passed on as it is (W3C Baggage, at most 8,192 bytes)."""
    raw = headers.get(b"baggage", b"")
    return raw.decode("latin-1") if len(raw) <= _LONGEST_BAGGAGE else ""
