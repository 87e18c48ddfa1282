"""Ten thousand malformed requests as bytes: each is refused, none hangs or grows the worker."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from impact.settings import Settings
from impact.stack import Stack
from support.served import Served, serving
from support.shops import Shop, open_shop

REQUESTS = 10_000
AT_ONCE = 20
PATIENCE = 30
"""Seconds until an answer counts as a hang: many times what the slowest takes here."""
GROWTH = 24 * 1024 * 1024
"""Bytes that the worker may be larger after ten thousand requests than after the first two."""
BODY_TIMEOUT = 1.5
"""Seconds. A machine that stood still for longer would take whole bodies for late ones."""
ALLOWED = {
    "bad_chunks": {400},
    "bad_headers": {400},
    "bad_query": {400},
    "bad_text": {400},
    "bad_token": {401},
    "broken_json": {400},
    "long_path": {400, 414},
    "not_http": {400},
    # One is a method of the protocol's own, which this path does not take.
    "odd_method": {400, 405},
    # A repeated slash and a fragment are no error; /ops is not for staff of a shop.
    "odd_path": {200, 400, 403, 404},
    "smuggling": {400},
    "traversal": {404},
    "truncated": {408},
    "two_lengths": {400},
    "wrong_types": {400},
}
"""What each kind may be answered."""


@pytest.fixture(scope="module")
async def served(stack: Stack, settings: Settings, worker_id: str) -> AsyncIterator[Served]:
    name = f"malformed_{worker_id}"
    async with serving(stack, settings, name, body_timeout=BODY_TIMEOUT) as found:
        yield found


@pytest.fixture(scope="module")
async def shop(served: Served) -> Shop:
    return await open_shop(served.runtime, None)


class Maker:
    """Makes malformed requests from one seed. Each returns the bytes, and whether the server may
    still be waiting for more of them."""

    def __init__(self, shop: Shop) -> None:
        self._random = random.Random(20261127)  # noqa: S311 - the same requests each time
        self._token = shop.admin["authorization"].encode()
        self._kinds: list[Callable[[], bytes]] = [
            self.broken_json,
            self.wrong_types,
            self.bad_text,
            self.bad_query,
            self.bad_headers,
            self.odd_method,
            self.odd_path,
            self.traversal,
            self.long_path,
            self.two_lengths,
            self.smuggling,
            self.truncated,
            self.not_http,
            self.bad_token,
            self.bad_chunks,
        ]
        # Each of these takes the server all of its patience.
        self._weights = [0.2 if kind == self.truncated else 1.0 for kind in self._kinds]

    def __iter__(self) -> "Maker":
        return self

    def __next__(self) -> tuple[str, bytes]:
        (kind,) = self._random.choices(self._kinds, self._weights)
        return kind.__name__, kind()

    def _request(
        self,
        method: bytes,
        target: bytes,
        body: bytes = b"",
        *headers: bytes,
        length: int | None = None,
    ) -> bytes:
        lines = [
            method + b" " + target + b" HTTP/1.1",
            b"host: impact.test",
            b"authorization: " + self._token,
            b"connection: close",
            *headers,
        ]
        if body or length is not None:
            lines.append(b"content-length: %d" % (len(body) if length is None else length))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _json(self, body: bytes, *headers: bytes) -> bytes:
        target = self._random.choice(
            [
                b"/admin/products",
                b"/admin/collections",
                b"/admin/users",
                b"/admin/permissions/check",
            ]
        )
        return self._request(b"POST", target, body, b"content-type: application/json", *headers)

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(1, most))

    def broken_json(self) -> bytes:
        whole = b'{"title":"x","tags":["a","b"],"metadata":{"a":[1,2,{"b":null}]}}'
        match self._random.randint(0, 3):
            case 0:
                return self._json(whole[: self._random.randint(1, len(whole) - 1)])
            case 1:
                place = self._random.randint(0, len(whole) - 1)
                return self._json(whole[:place] + b"\x00" + whole[place:])
            case 2:
                return self._json(b"[" * self._random.randint(1000, 50_000))
            case _:
                return self._json(b"}" + self._bytes(200))

    def wrong_types(self) -> bytes:
        values = [b"1e400", b"-0.5", b'"2"', b"null", b"[]", b"{}", b"9" * 400, b"true", b"1e308"]
        value = self._random.choice(values)
        name = self._random.choice([b"titel", b"tags", b"weight", b"handle", b"variants"])
        return self._json(b'{"title":5,"' + name + b'":' + value + b"}")

    def bad_text(self) -> bytes:
        bad = self._random.choice(
            [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xf5"]
        )
        return self._json(b'{"title":"' + bad + b'","name":"' + bad + b'"}')

    def bad_query(self) -> bytes:
        query = self._random.choice(
            [
                *(b"limit=1&limit=2", b"limit=abc", b"q=%ff%fe", b"q=%zz", b"q=%00", b"%00=1"),
                *(b"id=" + b"9" * 300, b"offset=-1", b"offset=99999999999999999999", b"limt=5"),
                *(b"cursor=" + b"A" * 400, b"order=;drop", b"created_from=99999-01-01", b"=&=&="),
                b"&".join([b"id[]=x"] * 500),
                b"display_id=9223372036854775808&created_to=0001-01-01T00:00:00%2b23:59",
            ]
        )
        return self._request(b"GET", b"/admin/orders?" + query)

    def bad_headers(self) -> bytes:
        header = self._random.choice(
            [
                *(b"x-tenant-id: Not A Slug", b"x-tenant-id: %00", b"x-tenant-id: \xe9"),
                *(b"x-consistency-token: zz", b"x-consistency-token: " + b"F" * 5000),
                *(b"x-request-id: " + b"a" * 8000, b"x-publishable-api-key: pk__"),
                *(b"accept-encoding: " + b"gzip;q=" * 500, b"bad header: x", b": nothing"),
                *(b"traceparent: 00-zz", b"content-type: ", b"x-tenant-id: a\r\nx-tenant-id: b"),
                *(b"authorization: Basic %%%", b"authorization: Bearer"),
            ]
        )
        return self._request(b"GET", b"/store/products", b"", header)

    def odd_method(self) -> bytes:
        method = self._random.choice(
            [b"FOO", b"TRACE", b"CONNECT", b"PUT", b"PATCH", b"get", b"G\x00T"]
        )
        return self._request(method, b"/admin/products")

    def odd_path(self) -> bytes:
        path = self._random.choice(
            [
                *(b"/admin/products/%00", b"/admin/products/%ff", b"/admin//products", b"//admin"),
                *(b"/admin/tenants/%27;--", b"/admin/tenants/a%00b", b"*", b"/%2561dmin", b"/\x01"),
                *(b"/admin/products/" + b"0" * 400, b"/store/carts/%7B%7D", b"/ops/assets/%2e%2e"),
                *(b"admin", b"http://[::1", b"/admin/products#x", b"/ops/queries/%00/plan"),
            ]
        )
        return self._request(b"GET", path)

    def traversal(self) -> bytes:
        dots = self._random.choice(
            [b"..", b"%2e%2e", b"..%2f", b"....//", b"%c0%ae%c0%ae", b"..\\"]
        )
        ending = self._random.choice([b"etc/passwd", b"page.html", b"settings.py"])
        return self._request(b"GET", b"/ops/assets/" + (dots + b"/") * 6 + ending)

    def long_path(self) -> bytes:
        length = self._random.choice([16_000, 20_000, 60_000, 70_000])
        return self._request(b"GET", b"/admin/products?q=" + b"a" * length)

    def two_lengths(self) -> bytes:
        return self._request(b"POST", b"/admin/products", b"{}", b"content-length: 7")

    def smuggling(self) -> bytes:
        coding = self._random.choice([b"chunked", b"chunked, identity", b"xchunked", b"gzip"])
        inner = b"0\r\n\r\nGET /admin/products HTTP/1.1\r\nhost: x\r\n\r\n"
        return self._json(inner, b"transfer-encoding: " + coding)

    def truncated(self) -> bytes:
        """Less than was announced: the server waits for the rest, and not for ever."""
        headers = [b"content-type: application/json"]
        return self._request(b"POST", b"/admin/products", b'{"title":', *headers, length=500)

    def not_http(self) -> bytes:
        return (
            self._random.choice([b"", b"\x16\x03\x01", b"GET\r\n"]) + self._bytes(300) + b"\r\n\r\n"
        )

    def bad_token(self) -> bytes:
        token = self._random.choice(
            [
                b"Bearer eyJhbGciOiJub25lIn0.e30.",
                b"Bearer sk_x",
                b"Basic Og==",
                b"Bearer " + b"a" * 9000,
            ]
        )
        lines = [b"GET /admin/products HTTP/1.1", b"host: x", b"connection: close"]
        return b"\r\n".join([*lines, b"authorization: " + token]) + b"\r\n\r\n"

    def bad_chunks(self) -> bytes:
        chunk = self._random.choice([b"zz\r\nabc\r\n", b"5\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n"])
        head = self._request(
            b"POST",
            b"/admin/products",
            b"",
            b"content-type: application/json",
            b"transfer-encoding: chunked",
        )
        return head + chunk


async def send(port: int, request: bytes, *, end: bool) -> int:
    """The status of the answer; 0 where the server closed without one. With ``end`` the client
    says that no more will come."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            await writer.drain()
            if end:
                writer.write_eof()
            line = await reader.readline()
            await reader.read()
        except OSError:
            return 0
        finally:
            writer.close()
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0


def resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


async def test_ten_thousand(served: Served, shop: Shop) -> None:
    (worker,) = served.workers()
    maker = Maker(shop)
    statuses: Counter[int] = Counter()
    wrong: list[tuple[str, int, bytes]] = []
    sent = before = 0

    async def send_some(until: int) -> None:
        nonlocal sent
        while sent < until:
            sent += 1
            name, request = next(maker)
            # What is no HTTP may be the beginning of some: it is waited for.
            status = await send(served.port, request, end=name == "not_http")
            statuses[status] += 1
            if status not in ALLOWED[name]:
                wrong.append((name, status, request[:300]))

    for until in (REQUESTS // 5, REQUESTS):
        await asyncio.gather(*(send_some(until) for _ in range(AT_ONCE)))
        before = before or resident(worker)
    assert wrong == []
    assert served.workers() == [worker]
    assert resident(worker) - before < GROWTH
    # Every kind of refusal was met.
    assert {400, 401, 404, 405, 408, 414} <= set(statuses)
    async with httpx.AsyncClient(base_url=served.base, timeout=PATIENCE) as client:
        assert (await client.get("/admin/products", headers=shop.admin)).status_code == 200


async def test_a_byte_at_a_time(served: Served, shop: Shop) -> None:
    """Such a client is told that it took too long, and its connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = (
        f"POST /admin/products HTTP/1.1\r\nhost: x\r\nauthorization: {shop.admin['authorization']}"
        "\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    )
    writer.write(head.encode())

    async def drip() -> None:
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(BODY_TIMEOUT / 10)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(PATIENCE):
        status = await reader.readline()
        answer = await reader.read()
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    writer.close()
    assert status.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


async def test_a_length_over_the_limit_is_refused_at_once(served: Served, shop: Shop) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = (
        f"POST /admin/products HTTP/1.1\r\nhost: x\r\nauthorization: {shop.admin['authorization']}"
        "\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE):
        status = await reader.readline()
    writer.close()
    assert status.startswith(b"HTTP/1.1 413 ")
