"""Hearing of the server's end before it waits for the requests that run.

The application's own shutdown comes after they have ended, and an open stream would never end.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def told_to_stop(stop: Callable[[], object]) -> Iterator[None]:
    """``stop`` runs on the event loop when a signal comes that ends the server; what the server
    itself does about it goes on as it was. Without a server there is nothing to hear."""
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)
        own = before.get(signal.Signals(number))
        if callable(own):
            own(number, frame)

    with contextlib.suppress(ValueError):  # not the main thread: nobody sends it signals
        for each in _SIGNALS:
            # One that nobody handles ends the process; it must go on doing so.
            found = signal.getsignal(each)
            if callable(found) and found is not signal.default_int_handler:
                before[each] = found
                signal.signal(each, heard)
    try:
        yield
    finally:
        for number, own in before.items():
            if signal.getsignal(number) is heard:
                signal.signal(number, own)
