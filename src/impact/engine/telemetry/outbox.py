"""What goes to a collector waits here, and a thread sends it: no request ever waits.

The SDK's own batch processor neither tells how much it dropped nor ends within a bound while its
collector hangs, so only the exporters are the SDK's. The queue is bounded; what does not fit and
what the collector did not take is counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Outbox(Generic[T]):
    """``send`` gets a batch, blocks for as long as it takes, and says whether it was taken.

    ``capacity`` and ``batch`` count what ``put`` is told of as ``weight``, spans for one.
    """

    def __init__(
        self,
        signal: str,
        send: Callable[[list[T]], bool],
        *,
        capacity: int,
        batch: int,
        delay: float,
    ) -> None:
        self.signal = signal
        self.exported = 0
        self.refused = 0
        """Not taken by the collector."""
        self.overflowed = 0
        """Did not fit into the queue."""
        self._send = send
        self._capacity = capacity
        self._batch = batch
        self._delay = delay
        self._queue: deque[tuple[T, int]] = deque()
        self._lock = threading.Lock()
        self._waiting = 0
        self._away = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"otlp-{signal}", daemon=True)
        self._thread.start()

    def put(self, item: T, weight: int = 1) -> None:
        """Queue it, or count it as dropped. Never waits."""
        with self._lock:
            if self._waiting + weight > self._capacity or self._closing:
                self.overflowed += weight
                return
            self._queue.append((item, weight))
            self._waiting += weight
            full = self._waiting >= self._batch
        if full:
            self._wake.set()

    @property
    def waiting(self) -> int:
        return self._waiting

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            self._send_batch()
            while self._queue and (self._closing or self._waiting >= self._batch):
                self._send_batch()
            if self._closing:
                return

    def _send_batch(self) -> None:
        batch: list[T] = []
        weight = 0
        with self._lock:
            while self._queue and weight < self._batch:
                item, each = self._queue.popleft()
                batch.append(item)
                weight += each
        if not batch:
            return
        try:
            taken = self._send(batch)
        except Exception:
            logger.exception("%s could not be sent", self.signal)
            taken = False
        with self._lock:
            self._waiting -= weight
            if taken:
                self.exported += weight
            else:
                self.refused += weight
        if taken == self._away:
            self._away = not taken
            if self._away:
                logger.warning("the collector takes no %s; they are dropped meanwhile", self.signal)
            else:
                logger.info("the collector takes %s again", self.signal)

    def close(self, timeout: float, abort: Callable[[], None]) -> None:
        """Send what waits, for at most ``timeout`` seconds; then ``abort`` and count the rest."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        abort()
        with self._lock:
            left = sum(weight for _, weight in self._queue)
            self.overflowed += left
            self._waiting -= left
            self._queue.clear()
