"""Real worker processes and a crowd: exactly as many requests pass as the limit allows."""

import asyncio
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.dev import Dev, free_port

# One start of the four workers for both.
pytestmark = pytest.mark.xdist_group("crowd")

WORKERS = 4
EACH = 500
CROWD = WORKERS * EACH
# A process keeps what it has leased of a bucket over half full until it has requests for it: every
# worker has more of them than half of what a bucket holds.
LIMITS = {"paris": 500, "lyon": 900}
PATH = "/store/products?limit=2"


@pytest.fixture(scope="module")
def served() -> Iterator[Dev]:
    directory = Path(tempfile.mkdtemp(prefix="impact-limits-"))
    directory.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        # For a day, so that nothing comes back meanwhile.
        limits = ",".join(f"{name}:tenant-read={limit}/86400" for name, limit in LIMITS.items())
        patch.setenv("IMPACT_RATE_LIMITS", limits)
        # A worker for which Redis is too slow gives away its share of the limit once more.
        patch.setenv("IMPACT_REDIS_TIMEOUT", "10")
        with Dev(directory / "data", free_port(), "--workers", str(WORKERS)) as dev:
            yield dev
    shutil.rmtree(directory, ignore_errors=True)


class Visitor:
    """One connection."""

    async def arrive(self, port: int) -> int:
        """Answers which worker the kernel has given it to."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        worker: int = msgspec.json.decode(await self.reader.readexactly(int(length[1])))["worker"]
        return worker

    async def ask(self, tenant: str) -> int:
        self.writer.write(
            f"GET {PATH} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {tenant}\r\n"
            "connection: close\r\n\r\n".encode()
        )
        answer = await self.reader.read()
        self.writer.close()
        assert answer, "the connection was closed without an answer"
        return int(answer.split(b" ", 2)[1])


async def gathered(port: int) -> list[Visitor]:
    """A crowd, as many at each worker."""
    found: defaultdict[int, list[Visitor]] = defaultdict(list)

    async def come() -> None:
        visitor = Visitor()
        at = found[await visitor.arrive(port)]
        if len(at) < EACH:
            at.append(visitor)
        else:
            visitor.writer.close()

    async with asyncio.timeout(120):
        while sum(map(len, found.values())) < CROWD:
            await asyncio.gather(*(come() for _ in range(100)))
    return [visitor for visitors in found.values() for visitor in visitors]


@pytest.mark.parametrize("tenant", LIMITS)
async def test_a_crowd_at_once(served: Dev, tenant: str) -> None:
    crowd = await gathered(served.port)
    answers = Counter(await asyncio.gather(*(each.ask(tenant) for each in crowd)))
    assert answers == {200: LIMITS[tenant], 429: CROWD - LIMITS[tenant]}
