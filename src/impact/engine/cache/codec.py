"""How an entry stands in Redis: msgpack, its body gzipped above a size.

gzip rather than a faster method, because it is also what a client asks for: the body of a
response comes out of Redis ready to be sent in either form.
"""

import zlib

import msgspec

_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """``generations`` are of the entry's tags, in their order; ``soft`` is when its time is up,
    in seconds since 1970; ``cost`` is what its load took, in seconds."""

    generations: tuple[int, ...]
    wal: int
    soft: float
    cost: float
    missing: str | None
    zipped: bool
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    return _encoder.encode(entry)


def decode(raw: bytes) -> Entry | None:
    """The entry; None for what is none, such as one that another program wrote."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def zipped(body: bytes) -> bytes:
    """The body as gzip, at the level that costs the event loop least."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def unzipped(body: bytes) -> bytes:
    return zlib.decompress(body, _GZIP)
