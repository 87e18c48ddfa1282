"""Which entries may be served, to whom, and under which version."""

import hashlib
import math
import random
import time
from typing import Any

import msgspec

from impact.context import RequestContext
from impact.engine.cache.codec import Entry
from impact.engine.cache.keys import Key, depends
from impact.engine.cache.kinds import Kind
from impact.engine.cache.local import Held
from impact.engine.cache.versions import Versions

_EAGERNESS = 1.0
_SURELY_EARLY = 37.0 * _EAGERNESS
"""Times its cost before its end no entry is due: a random number has 53 bits, so that its logarithm
is never below -36.8."""


class Validity:
    """The rules, by what this process knows of the versions."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def good(self, held: Held, context: RequestContext) -> bool:
        """Whether L1's entry serves this caller now."""
        versions = self._versions
        now = time.monotonic()
        if now >= held.until or (held.verified and now >= versions.good_until):
            return False
        if held.checked != versions.changes:
            if not versions.agree(held.marks):
                return False
            held.checked = versions.changes
        return context.token <= held.wal or (
            held.verified and 0 < context.raised_at <= versions.heard
        )

    def shared_is_good(self, entry: Entry, context: RequestContext) -> bool:
        """Whether an L2 entry whose versions were just compared serves this caller.

        A token with the raise's time was given out after Redis heard of the write, so that the
        comparison included it. One without was not heard of: then the snapshot must contain it.
        """
        return context.token <= entry.wal or context.raised_at > 0

    def due(self, left: float, cost: float) -> bool:
        """Whether to refresh now, ``left`` seconds before the end: the costlier the load, the
        earlier. Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
        Prevention, VLDB 2015 (XFetch)."""
        if left > cost * _SURELY_EARLY:
            return False
        return left <= cost * _EAGERNESS * -math.log(1.0 - random.random())  # noqa: S311

    def version(self, kind: Kind[Any], key: Key, context: RequestContext, id: object) -> str:
        """The version under which ``key`` would be served to this caller now: equal to an earlier
        one if nothing has changed since. "" where this process cannot tell without asking.
        """
        versions = self._versions
        heard = not context.token or 0 < context.raised_at <= versions.heard
        if not (heard and versions.hears()):
            return ""
        tags = depends(key.tenant, kind.depends, id, kind.also)
        generations = tuple([versions.known(tag) for tag in tags])
        return self.digest(key, generations) if all(generations) else ""

    def digest(self, key: Key, generations: tuple[int, ...]) -> str:
        """A name for the key's value under these versions, the same in all processes."""
        remote = self._versions.remote
        run = "" if remote is None else remote.incarnation
        raw = msgspec.msgpack.encode((run, key, generations))
        return hashlib.blake2b(raw, digest_size=8).hexdigest()
