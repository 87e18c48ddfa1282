"""Requests at a steady rate from a process of its own: the neighbour of ``impact bench fairness``.

``python -m impact.loadtest.noise PORT TENANT PATH RATE SECONDS`` prints how many answers had which
status. Imports nothing that takes long.
"""

import asyncio
import json
import sys
import time
from collections import Counter

CONNECTIONS = 20


async def make(port: int, tenant: str, path: str, rate: float, seconds: float) -> Counter[int]:
    """Each connection keeps its share of the rate, also where an answer was late."""
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {tenant}\r\n\r\n".encode()
    began = time.perf_counter()
    answers: Counter[int] = Counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        due = began + number / rate
        while due < began + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            answers[int(head.split(b" ", 2)[1])] += 1
            due += CONNECTIONS / rate
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CONNECTIONS)))
    return answers


if __name__ == "__main__":
    port, tenant, path, rate, seconds = sys.argv[1:]
    found = asyncio.run(make(int(port), tenant, path, float(rate), float(seconds)))
    sys.stdout.write(json.dumps(found))
