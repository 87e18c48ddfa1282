"""What the hot path costs, in the interpreter's own instructions: the machine's mood is no part
of it. A change that makes it dearer fails here before any clock could tell."""

import sys
from types import FrameType
from typing import Any

from litestar import Litestar

from impact.engine.cache.keys import make_key
from impact.engine.cache.kinds import Body, TtlClass, body_kind
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import PermissionSet
from impact.engine.telemetry.tally import EACH
from support.caching import stored
from support.shops import Shop

PAGE = body_kind("budget", TtlClass.CONTENT)


class Counter:
    """Counts the instructions that Python runs inside the block, in every function it calls."""

    def __init__(self) -> None:
        self.instructions = 0

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        self.instructions += event == "opcode"
        return self._trace

    def __enter__(self) -> "Counter":
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


def scope(path: str, headers: dict[str, str]) -> Any:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "scheme": "http",
        "server": ("impact.test", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }


class Ask:
    """Requests given to the application without a server in between."""

    def __init__(self, app: Litestar, path: str, headers: dict[str, str]) -> None:
        self._app = app
        self._path = path
        self._headers = headers
        self.sent: list[Any] = []

    async def _receive(self) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def start(self) -> Any:
        self.sent.clear()
        return self._app(scope(self._path, self._headers), self._receive, self._send)  # type: ignore[arg-type]


async def until_short(ask: Ask, runtime: Runtime) -> None:
    """Ask until L1 answers without routing: on a busy machine Redis's beat may be late."""
    before = runtime.shortcuts.taken
    while runtime.shortcuts.taken == before:
        await ask.start()
        await stored(runtime.cache)


async def test_a_cached_list(app: Litestar, runtime: Runtime, shop: Shop) -> None:
    """It is answered without waiting once, in a bounded number of instructions."""
    await shop.product()
    ask = Ask(app, "/admin/products?limit=50", shop.admin)
    await until_short(ask, runtime)
    before = runtime.shortcuts.taken
    # Nothing is waited for in between: what just went the short way goes it again.
    counter = Counter()
    running = ask.start()
    with counter:
        try:
            running.send(None)
            waited = True
        except StopIteration:
            waited = False
    assert not waited
    assert runtime.shortcuts.taken == before + 1
    assert [message.get("status") for message in ask.sent] == [200, None]
    assert counter.instructions < 2000


async def test_the_long_way(app: Litestar, runtime: Runtime, shop: Shop) -> None:
    """What the short way saves."""
    await shop.product()
    costs = []
    for limit in range(51, 56):
        ask = Ask(app, f"/admin/products?limit={limit}", shop.admin)
        await ask.start()
        await stored(runtime.cache)
        # From L1, unless Redis's beat is late just then.
        with Counter() as long:
            await ask.start()
        costs.append(long.instructions)
    await until_short(ask, runtime)
    with Counter() as short:
        await ask.start()
    assert short.instructions * 4 < min(costs) < 10_000


async def test_a_hit_and_a_permission_check(runtime: Runtime, shop: Shop) -> None:
    cache, context = runtime.cache, shop.context()
    key = make_key(shop.tenant, "budget", "1", "page")

    async def load(_: Any) -> Body:
        return Body(b"{}")

    while cache.peek(PAGE, key, context) is None:
        await cache.get(PAGE, key, context, load, id="1")
        await stored(cache)
    with Counter() as hits:
        for _ in range(EACH):  # one of which is timed
            await cache.get(PAGE, key, context, load, id="1")
    assert hits.instructions / EACH < 190
    permissions = PermissionSet(["product:*", "order:read"])
    with Counter() as checks:
        for _ in range(EACH):
            cache.peek(PAGE, key, context)
            permissions.allows("product:read")
    assert checks.instructions / EACH < 160
