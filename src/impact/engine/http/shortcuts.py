"""A read that was answered from L1 alone is answered so again, without being routed.

What an answer depends on is then known: the request's own bytes, and the cache's entries that said
who asks, for which shop, what they may do, and what the body is. The second time all of them came
out of L1, the answer is noted under those bytes with the entries' serials. From then on the same
bytes find it. Each time every entry must still be L1's for this caller, by the rules of the cache
(``Validity.good``): a role taken away, a shop closed or a product changed has
ended one of them, and the request takes the long way.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import cachebox
from litestar.types import HTTPScope

from impact.context import Actor, Claims, RequestContext
from impact.engine.cache.keys import Key
from impact.engine.cache.kinds import Body
from impact.engine.cache.local import Held
from impact.engine.cache.stats import Counters
from impact.engine.cache.tiered import Cache
from impact.engine.http.conditions import names_content
from impact.engine.limits.policies import RateClass
from impact.engine.telemetry.telemetry import Repeated, Telemetry

_MOST = 4096
_LONGEST = 4096
"""Bytes of path, query and the headers that count. A longer request takes the long way."""

_OF_A_BODY = frozenset({b"content-length", b"content-type", b"content-encoding"})
Question = tuple[str, bytes, bytes | None, bytes | None, bytes | None, bytes | None, str]


class Known(NamedTuple):
    """One noted answer, and what the context of whoever asks again must say."""

    facts: tuple[tuple[Key, int], ...]
    headers: list[tuple[bytes, bytes]]
    coding: str
    route: str
    tenant: str
    actor: Actor
    currency_code: str
    allowed_origins: frozenset[str]
    claims: Claims | None
    rate_class: RateClass
    counters: tuple[Counters, ...]
    figures: Repeated


class Answer(NamedTuple):
    """What to send, and how many milliseconds it took to find."""

    known: Known
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    looked_up: float


class Shortcuts:
    """Of one process. Bounded: the least recently used make room."""

    def __init__(self, cache: Cache, telemetry: Telemetry) -> None:
        self._cache = cache
        self._telemetry = telemetry
        self._known: cachebox.LRUCache[Question, Known] = cachebox.LRUCache(_MOST)
        self.taken = 0

    def find(self, question: Question, context: RequestContext) -> Answer | None:
        """The answer, if it is known and stands; the context then says who asked."""
        began = time.perf_counter_ns()
        known = self._known.get(question)
        if known is None:
            return None
        claims = known.claims
        if claims is not None:
            if time.time() >= claims.expires:
                return None
            context.see(claims.seen, claims.raised_at)
        held = self._again(known.facts, context)
        if held is None:
            return None
        body: Body = held.value
        context.tenant, context.actor = known.tenant, known.actor
        context.currency_code, context.admitted = known.currency_code, True
        context.allowed_origins = known.allowed_origins
        condition = context.if_none_match
        if condition is not None and names_content(condition, body.digest, known.coding):
            headers = [each for each in known.headers if each[0] not in _OF_A_BODY]
            return Answer(known, 304, headers, b"", (time.perf_counter_ns() - began) / 1e6)
        content = body.packed[known.coding] if known.coding else body.json
        return Answer(known, 200, known.headers, content, (time.perf_counter_ns() - began) / 1e6)

    def _again(self, facts: Sequence[tuple[Key, int]], context: RequestContext) -> Held | None:
        """The entry of the last fact, if all of them still stand for this caller.

        None too where one is due to be refreshed, which the long way sees to.
        """
        cache, now = self._cache, time.monotonic()
        find, good, due = cache.local.get, cache.validity.good, cache.validity.due
        held: Held | None = None
        for key, serial in facts:
            held = find(key)
            if held is None or held.serial != serial or not good(held, context):
                return None
            if due(held.soft - now, held.cost):
                return None
        return held

    def count(self, answer: Answer, context: RequestContext, scope: HTTPScope, began: int) -> None:
        """The answer goes out. ``began`` is when its request came, by perf_counter_ns."""
        self.taken += 1
        known = answer.known
        for counters in known.counters:
            counters.hits += 1
        self._telemetry.finish_repeated(
            context, scope, known.figures, known.route, answer.status, began, answer.looked_up
        )

    def note(
        self,
        question: Question,
        context: RequestContext,
        route: str,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """Remember the answer with these headers, if L1 alone gave it."""
        facts = context.facts
        if not (context.from_cache and facts) or context.round_trips or context.wrote:
            return
        coding = next((v.decode() for k, v in headers if k == b"content-encoding"), "")
        entities = [key.entity for key, _ in facts]
        self._known.insert(
            question,
            Known(
                tuple(facts),
                headers,
                coding,
                route,
                context.tenant,
                context.actor,
                context.currency_code,
                context.allowed_origins,
                context.claims,
                context.rate_class,
                tuple(self._cache.stats.l1[entity] for entity in entities),
                self._telemetry.repeated("GET", route, context.tenant, entities),
            ),
        )


def question_of(
    scope: HTTPScope, headers: dict[bytes, bytes], context: RequestContext
) -> Question | None:
    """All of a request that its answer depends on; None where it is no plain read.

    What each caller has seen is not part of it, nor what it has of the body: those are judged
    each time. A header that came twice is read by its last value here and by its first elsewhere.
    """
    if scope["method"] != "GET" or len(headers) != len(list(scope["headers"])):
        return None
    get = headers.get
    if b"if-match" in headers:  # which no read takes
        return None
    authorization, query = get(b"authorization"), scope["query_string"]
    if len(query) + len(authorization or b"") + len(scope["path"]) > _LONGEST:
        return None
    return (
        scope["path"],
        query,
        authorization,
        get(b"x-tenant-id"),
        get(b"x-publishable-api-key"),
        get(b"accept"),
        context.coding,
    )
