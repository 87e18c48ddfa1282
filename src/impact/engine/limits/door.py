"""Who begins next, where more requests come at once than a process can serve.

An event loop that begins all that has come looks at no answer of PostgreSQL or Redis before the
last of a hundred requests has had its turn, at each of the several waits of every one of them. So
a few begin in each turn of the loop, and the others wait outside: what is under way gets on. The
shops take turns (fair queueing: Nagle, On Packet Switches with Infinite Storage, RFC 970), so that
who asks for much waits for themselves.
"""

import asyncio
from collections import OrderedDict, deque

_EACH_TURN = 4
"""Requests: few enough that a turn stays near a millisecond, and many enough that the look at the
sockets between two turns, some 20 us, is little beside them."""

Flow = bytes | str


class Door:
    """Of one process. ``waiting`` is how many stand outside."""

    def __init__(self) -> None:
        self.waiting = 0
        self._begun = 0
        self._turning = False
        self._queues: OrderedDict[Flow, deque[asyncio.Future[None]]] = OrderedDict()

    def open(self) -> bool:
        """Whether a request may begin now. If so, it has."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._queues or self._begun >= _EACH_TURN:
            return False
        self._begun += 1
        return True

    async def wait(self, flow: Flow) -> None:
        """Wait until the request may begin: in the order of its flow, and the flows in turns."""
        place = asyncio.get_running_loop().create_future()
        self._queues.setdefault(flow, deque()).append(place)
        self.waiting += 1
        try:
            await place
        finally:
            self.waiting -= 1

    def _turn(self) -> None:
        """The loop has looked at its sockets since the turn before."""
        self._begun = 0
        while self._queues and self._begun < _EACH_TURN:
            flow, queue = next(iter(self._queues.items()))
            place = queue.popleft()
            if queue:
                self._queues.move_to_end(flow)
            else:
                del self._queues[flow]
            if not place.done():
                # It is done where the client has not waited.
                place.set_result(None)
                self._begun += 1
        self._turning = self._begun > 0
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
