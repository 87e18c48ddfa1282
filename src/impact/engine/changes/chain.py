"""The hash chain of a tenant's log: what an entry's hash is made of, and where a run breaks.

An auditor can compute it from the output of SQL alone. The content of an entry is its fields in
the order of ``CONTENT``, each as text with its length in bytes before it (``5:hello,``; ``-,``
for NULL). Numbers are decimal, ``occurred_at`` is in microseconds since 1970 UTC, ``before`` and
``after`` are as PostgreSQL prints a ``jsonb``, which has one form for one value. Then

    hash = SHA-256(previous_hash || content)

with 32 zero bytes before a tenant's first entry.
"""

import datetime as dt
import enum
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

GENESIS = bytes(32)
CONTENT = (
    "tenant_id",
    "position",
    "id",
    "occurred_at",
    "table_name",
    "row_id",
    "action",
    "before",
    "after",
    "actor",
    "request_id",
    "reason",
)
ENTRY = (
    "tenant_id, position, id, occurred_at, table_name, row_id, action,"
    " before::text AS before, after::text AS after, actor, request_id, reason,"
    " previous_hash, hash"
)
"""What to select of ``audit_log`` for the functions here."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def content(entry: Mapping[str, Any]) -> bytes:
    """The canonical bytes of an entry; ``before`` and ``after`` are text, as ``ENTRY`` has them."""
    parts = []
    for name in CONTENT:
        value = entry[name]
        if value is None:
            parts.append(b"-,")
            continue
        if name == "occurred_at":
            value = (value - _EPOCH) // _MICROSECOND
        raw = str(value).encode()
        parts.append(b"%d:%b," % (len(raw), raw))
    return b"".join(parts)


def link(previous_hash: bytes, entry: Mapping[str, Any]) -> bytes:
    """The hash of an entry that follows the one whose hash is given."""
    return hashlib.sha256(previous_hash + content(entry)).digest()


class Fault(enum.StrEnum):
    EDITED = "edited"
    """The entry does not say what it said when its hash was made."""
    MISSING = "missing"
    """Entries before this one are gone."""
    LINK = "link"
    """The entry before this one was replaced by another."""
    ORDER = "order"
    """Two entries claim the same place."""
    HEAD = "head"
    """The chain's head names another last entry: the newest are gone or were added by hand."""


class Break(msgspec.Struct, frozen=True):
    """The first place where a tenant's chain does not hold."""

    tenant: str
    position: int
    id: int | None
    fault: Fault
    detail: str


class Verifier:
    """Follows one tenant's entries in the order of their positions, holding one hash.

    The first entry's ``previous_hash`` is believed, as what was before it may be archived; before
    position 1 there is nothing to believe.
    """

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.entries = 0
        self.position: int | None = None
        self.hash = GENESIS

    def skip(self, position: int, hash: bytes) -> None:
        """Entries up to ``position``, the last of which has this hash, are known elsewhere."""
        self.position, self.hash = position, hash

    def check(self, entry: Mapping[str, Any]) -> Break | None:
        """What is wrong with the next entry, or None."""
        position, previous = entry["position"], entry["previous_hash"]
        expected = position if self.position is None else self.position + 1
        if position > expected:
            return self._break(
                entry, Fault.MISSING, f"the entries {expected} to {position - 1} are missing"
            )
        if position < expected:
            return self._break(entry, Fault.ORDER, "another entry has this position too")
        known = GENESIS if position == 1 else None if self.position is None else self.hash
        if known is not None and previous != known:
            return self._break(
                entry,
                Fault.LINK,
                f"its previous_hash is {previous.hex()}, the entry before has {known.hex()}",
            )
        computed = link(previous, entry)
        if computed != entry["hash"]:
            return self._break(
                entry,
                Fault.EDITED,
                f"its content has the hash {computed.hex()}, not {entry['hash'].hex()}",
            )
        self.entries += 1
        self.position, self.hash = position, computed
        return None

    def check_head(self, position: int, hash: bytes) -> Break | None:
        """What is wrong with the chain's head after its last entry, or None."""
        last = self.position or 0
        if (last, self.hash) == (position, hash):
            return None
        if last < position:
            detail = f"the entries {last + 1} to {position} are missing"
        elif last > position:
            detail = f"the chain ends at {position}, what follows was not added by the relay"
        else:
            detail = f"the chain's head has the hash {hash.hex()}, not {self.hash.hex()}"
        return Break(self.tenant, position, None, Fault.HEAD, detail)

    def _break(self, entry: Mapping[str, Any], fault: Fault, detail: str) -> Break:
        return Break(self.tenant, entry["position"], entry["id"], fault, detail)
