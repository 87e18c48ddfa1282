"""What a measurement is compared with: the least a server could do for the same answer.

``python -m impact.loadtest.limits bare PORT`` sends ready bytes; ``query`` asks PostgreSQL for them
with one prepared statement, whose connection is for one shop. Both run on the server that Impact
runs on, with the same options. What they send stands in a file named by ``LIMIT_FILE``.
"""

import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from impact.engine.db.tenancy import TENANT_SETTING
from impact.engine.http.server import serve

_POOL = 20


class Bare(msgspec.Struct):
    """An answer to send. ``headers`` are as Impact sends them."""

    headers: list[tuple[str, str]]
    body: str


class Query(msgspec.Struct):
    """A statement whose one value is the body."""

    url: str
    tenant: str
    sql: str
    arguments: list[Any]


def bare() -> Any:
    """An ASGI app that sends ready bytes."""
    answer = msgspec.json.decode(_file(), type=Bare)
    body = answer.body.encode()
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["path"] == "/health/ready":
            await _ready(send)
        else:
            await _answer(send, headers, body)

    return app


def query() -> Any:
    """An ASGI app that lets PostgreSQL build the bytes."""
    asked = msgspec.json.decode(_file(), type=Query)
    pools: list[asyncpg.Pool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            for pool in pools:
                pool.terminate()
        elif scope["path"] == "/health/ready":
            await _ready(send)
        else:
            if not pools:
                settings = {TENANT_SETTING: asked.tenant, "jit": "off"}
                pools.append(
                    await asyncpg.create_pool(
                        asked.url,
                        min_size=_POOL,
                        max_size=_POOL,
                        server_settings=settings,
                        reset=_unchanged,
                    )
                )
            async with pools[0].acquire() as connection:
                body = (await connection.fetchval(asked.sql, *asked.arguments)).encode()
            length = (b"content-length", str(len(body)).encode())
            await _answer(send, [(b"content-type", b"application/json"), length], body)

    return app


async def _unchanged(_connection: asyncpg.Connection) -> None:
    """Nothing to reset after a read of the one shop: asyncpg's own reset waits for the server."""


def _file() -> bytes:
    return Path(os.environ["LIMIT_FILE"]).read_bytes()


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _ready(send: Any) -> None:
    body = msgspec.json.encode({"worker": os.getpid()})
    await _answer(send, [(b"content-length", str(len(body)).encode())], body)


async def _answer(send: Any, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve(f"impact.loadtest.limits:{sys.argv[1]}", host="127.0.0.1", port=int(sys.argv[2]))
