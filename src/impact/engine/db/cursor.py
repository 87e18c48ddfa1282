"""Keyset cursors: opaque, signed, and bound to the tenant and the sort they were made for."""

import base64
import binascii
import hashlib
import hmac
from typing import Any

import msgspec

from impact.errors import InvalidDataError, Problem

_SIGNATURE_BYTES = 12


class CursorCodec:
    """Writes cursors with the first of its keys and reads those of all, so that one can be rotated.

    A cursor holds the sort values of a page's last row. Signed with HMAC-SHA-256 (truncated to
    96 bits, the shortest RFC 2104 section 5 allows being 80) over tenant, sort and values, it
    can be neither forged nor carried to another shop or another order.
    """

    def __init__(self, *keys: bytes) -> None:
        self._keys = [
            hashlib.blake2b(key, person=b"impact cursor", digest_size=32).digest() for key in keys
        ]

    def encode(self, tenant: str, sort: str, values: list[Any]) -> str:
        payload = msgspec.msgpack.encode(values)
        signature = _sign(self._keys[0], tenant, sort, payload)
        return base64.urlsafe_b64encode(signature + payload).rstrip(b"=").decode()

    def decode(self, tenant: str, sort: str, cursor: str) -> list[Any]:
        """The values in a cursor. Raises InvalidDataError for one that is not ours, or not for
        this tenant and sort."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            if any(
                hmac.compare_digest(signature, _sign(key, tenant, sort, payload))
                for key in self._keys
            ):
                values: list[Any] = msgspec.msgpack.decode(payload)
                return values
        except (binascii.Error, ValueError, msgspec.DecodeError):
            pass
        message = "cursor is not one that this list gave, or it was given for another order"
        raise InvalidDataError(message, problems=[Problem(message, parameter="cursor")])


def _sign(key: bytes, tenant: str, sort: str, payload: bytes) -> bytes:
    message = b"\0".join((tenant.encode(), sort.encode(), payload))
    return hmac.digest(key, message, "sha256")[:_SIGNATURE_BYTES]
