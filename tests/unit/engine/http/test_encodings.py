"""Which content coding a client is answered with."""

import asyncio
import threading
import zlib

import pytest

from impact.engine.cache.kinds import Body
from impact.engine.http import encodings
from impact.engine.http.encodings import choose, pack, zstd


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"", ""),
        (b"gzip", "gzip"),
        (b"gzip, deflate, br, zstd", "zstd"),
        (b"GZIP;Q=1", "gzip"),
        (b"zstd;q=0.5, gzip", "gzip"),
        (b"zstd;q=0, *", "gzip"),
        (b"*", "zstd"),
        (b"*;q=0", ""),
        (b"gzip;q=0.000", ""),
        (b"gzip;q=0.2, identity", ""),
        (b"gzip;q=0.5, identity;q=0.5", "gzip"),
        (b"br, deflate", ""),
        (b"gzip;q=much", ""),
        (b"gzip;level=9", "gzip"),
        (b"gzip," * 100, ""),
        (b"\xff\xfe", ""),
    ],
)
def test_choice(accepted: bytes, chosen: str) -> None:
    assert choose(accepted) == chosen


def test_packing() -> None:
    body = b'{"products":[]}' * 1000
    assert zstd.decompress(pack(body, "zstd")) == body
    assert zlib.decompress(pack(body, "gzip"), 16 + zlib.MAX_WBITS) == body


async def test_a_cached_body_is_packed_once_and_away_from_the_event_loop(monkeypatch) -> None:
    threads = []
    done = encodings.pack

    def pack(body: bytes, coding: str) -> bytes:
        threads.append(threading.current_thread())
        return done(body, coding)

    monkeypatch.setattr(encodings, "pack", pack)
    body = Body(b'{"products":[]}' * 1000)
    answers = await asyncio.gather(*(encodings.packed(body, "zstd") for _ in range(20)))
    assert {zstd.decompress(answer) for answer in answers} == {body.json}
    assert await encodings.packed(body, "zstd") is answers[0]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    assert not body.packing
