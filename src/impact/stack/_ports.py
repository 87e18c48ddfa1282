"""Free ports on the loopback address."""

import random
import socket
from collections.abc import Collection

from impact.stack._errors import StackError

# Below the ephemeral ranges (Linux 32768, macOS 49152), from which outgoing connections take
# ports: one that is free today would now and then be taken at a later start.
_RANGE = range(20_000, 32_000)
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen now; REUSEADDR as servers use it, so TIME_WAIT is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def pick(taken: Collection[int]) -> int:
    """A free port outside of `taken`, which our own stopped servers hold."""
    for port in random.sample(_RANGE, _TRIES):
        if port not in taken and is_free(port):
            return port
    raise StackError(f"No free port between {_RANGE.start} and {_RANGE.stop} on 127.0.0.1")
