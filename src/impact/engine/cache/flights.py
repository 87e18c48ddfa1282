"""Look-ups under way: those who ask the same in one process share one."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from impact.context import RequestContext
from impact.engine.cache.keys import Key
from impact.engine.cache.local import Held
from impact.engine.cache.versions import Versions
from impact.engine.telemetry.telemetry import Lookup

logger = logging.getLogger(__name__)


class Flight:
    """It answers as soon as it can, and then still stores what it found."""

    __slots__ = ("answer", "marks", "source", "started")

    def __init__(self) -> None:
        self.source = "l2"
        self.started = time.monotonic()
        self.marks: tuple[tuple[str, int], ...] = ()
        self.answer: asyncio.Future[Held] = asyncio.get_running_loop().create_future()

    def tell(self, held: Held) -> None:
        if not self.answer.done():
            self.answer.set_result(held)

    def fail(self, error: Exception) -> None:
        self.answer.set_exception(error)
        # Taken note of, should everybody have gone who waited for it.
        self.answer.exception()


Resolve = Callable[[Flight], Awaitable[Held]]
"""What finds the value, and tells the flight as soon as it can."""


class Flights:
    """Of one process, one of each key; ``lonely`` is how long one may be joined that cannot hear
    whether what it loads has changed, in seconds."""

    def __init__(
        self, versions: Versions, lonely: float, background: set[asyncio.Task[Any]]
    ) -> None:
        self.under_way: dict[Key, Flight] = {}
        self._versions = versions
        self._lonely = lonely
        self._background = background

    def __contains__(self, key: Key) -> bool:
        return key in self.under_way

    async def share(
        self, key: Key, context: RequestContext, look: Lookup, resolve: Resolve
    ) -> Held:
        """What the flight of this key finds, or one that begins here."""
        arrived = time.monotonic()
        mine: Flight | None = None
        older: Flight | None = None
        while True:
            flight = self.under_way.get(key)
            if flight is None or flight is older or not self._joinable(flight):
                flight = mine = self.start(key, resolve)
            held = await asyncio.shield(flight.answer)
            look.outcome = flight.source if flight is mine else "joined"
            if flight is mine or context.token <= held.wal:
                return held
            if flight.started >= arrived and context.raised_at > 0:
                # It asked Redis after Redis had heard of the caller's write.
                return held
            older = flight

    def _joinable(self, flight: Flight) -> bool:
        """Whether what it is loading is unchanged since: who comes later is owed the change."""
        if not self._versions.agree(flight.marks):
            return False
        young = time.monotonic() - flight.started < self._lonely
        return young or self._versions.hears()

    def start(self, key: Key, resolve: Resolve) -> Flight:
        flight = self.under_way[key] = Flight()

        async def fly() -> None:
            try:
                flight.tell(await resolve(flight))
            except asyncio.CancelledError:
                flight.answer.cancel()
                raise
            except Exception as error:
                if flight.answer.done():
                    # Nobody waits for what went wrong after the answer.
                    logger.exception("%s was looked up and not stored", key)
                else:
                    flight.fail(error)
            finally:
                if self.under_way.get(key) is flight:
                    del self.under_way[key]

        task = asyncio.create_task(fly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return flight
