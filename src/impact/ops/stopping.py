"""Hearing of the server's end before it waits for the requests that run.

The application's own shutdown comes after they have ended, and an open stream would never end.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def told_to_stop(stop: Callable[[], object], delay: float) -> Iterator[None]:
    """``stop`` runs on the event loop when a signal comes that ends the server.

    What the server itself does about SIGINT goes on as it was. SIGTERM it gets to hear ``delay``
    seconds later, as SIGINT: until then it goes on serving, and whoever sends it requests has time
    to notice. Without a server there is nothing to hear.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}
    ending: list[asyncio.TimerHandle] = []

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)
        own = before.get(signal.Signals(number))
        if callable(own):
            own(number, frame)

    def drain() -> None:
        stop()
        if not ending:
            ending.append(loop.call_later(delay, os.kill, os.getpid(), signal.SIGINT))

    with contextlib.suppress(ValueError):  # not the main thread: nobody sends it signals
        for each in _SIGNALS:
            # One that nobody handles ends the process; it must go on doing so.
            found = signal.getsignal(each)
            if not callable(found) or found is signal.default_int_handler:
                continue
            if each is signal.SIGTERM and delay:
                loop.add_signal_handler(each, drain)
                continue
            before[each] = found
            signal.signal(each, heard)
    try:
        yield
    finally:
        for number, own in before.items():
            if signal.getsignal(number) is heard:
                signal.signal(number, own)
