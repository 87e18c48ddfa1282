"""Who begins next, where more requests come at once than a process can serve.

An event loop that begins all that has come looks at no answer of PostgreSQL or Redis before the
last of a hundred requests has had its turn, at each of the several waits of every one of them. So
a few begin in each turn of the loop, and the others wait outside: what is under way gets on. The
shops take turns (fair queueing: Nagle, On Packet Switches with Infinite Storage, RFC 970), so that
who asks for much waits for themselves.
"""

import asyncio
from collections import OrderedDict, deque

import cachebox

_EACH_TURN = 4
"""Requests: few enough that a turn stays near a millisecond, and many enough that the look at the
sockets between two turns, some 20 us, is little beside them."""

_MOST_KNOWN = 4096
_LONGEST_KNOWN = 1024
"""Bytes."""


class Door:
    """Of one process. ``waiting`` is how many stand outside."""

    def __init__(self) -> None:
        self.waiting = 0
        self._begun = 0
        self._turning = False
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._known: cachebox.LRUCache[bytes, str] = cachebox.LRUCache(_MOST_KNOWN)

    def open(self) -> bool:
        """Whether a request may begin now. If so, it has."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._queues or self._begun >= _EACH_TURN:
            return False
        self._begun += 1
        return True

    def know(self, said: bytes, shop: str) -> None:
        """Whoever names their shop so was let in to that one."""
        # A storefront's key that came beside a token was not looked at, and may be another shop's.
        strange = said.startswith(b"pk_") and not said.startswith(f"pk_{shop}_".encode())
        if not strange and len(said) <= _LONGEST_KNOWN:
            self._known.insert(said, shop)

    def flow(self, said: bytes, address: str) -> str:
        """Whose turn a request takes: the shop's, however it is named. A name that nobody was let
        in by yet may be made up, and costs nothing: whoever sends it takes their address's turn."""
        return self._known.get(said) or address

    async def wait(self, flow: str) -> None:
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
