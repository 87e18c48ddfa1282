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
from collections.abc import Mapping, Sequence
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


class Run(msgspec.Struct):
    """Entries without a gap, both ends included, and the hashes that tie them to the others; in
    hexadecimal digits."""

    first: int
    last: int
    previous_hash: str
    hash: str


class Verifier:
    """Follows one tenant's entries in the order of their positions, holding one hash.

    Entries of the runs that are ``elsewhere``, such as in archives, may be missing. The first
    entry's ``previous_hash`` is believed where it is not meant to be the tenant's first: ``start``
    is its position.
    """

    def __init__(self, tenant: str, *, start: int = 1, elsewhere: Sequence[Run] = ()) -> None:
        self.tenant = tenant
        self.entries = 0
        self.position = start - 1
        self.hash: bytes | None = GENESIS if start == 1 else None
        self._elsewhere = sorted(elsewhere, key=lambda run: run.first)

    def check(self, entry: Mapping[str, Any]) -> Break | None:
        """What is wrong with the next entry, or None."""
        position, previous = entry["position"], entry["previous_hash"]
        apart = self._pass_over(position - 1)
        if apart is not None:
            return apart
        expected = self.position + 1
        if position > expected:
            return self._break(
                entry, Fault.MISSING, f"the entries {expected} to {position - 1} are missing"
            )
        if position < expected:
            return self._break(entry, Fault.ORDER, "another entry has this position too")
        if self.hash is not None and previous != self.hash:
            return self._break(
                entry,
                Fault.LINK,
                f"its previous_hash is {previous.hex()}, the entry before has {self.hash.hex()}",
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
        apart = self._pass_over(position)
        if apart is not None:
            return apart
        last = self.position
        if last == position and self.hash in (hash, None):
            return None
        if last < position:
            detail = f"the entries {last + 1} to {position} are missing"
        elif last > position:
            detail = f"the chain ends at {position}, what follows was not added by the relay"
        else:
            detail = f"the chain's head has the hash {hash.hex()}, not that of its last entry"
        return Break(self.tenant, position, None, Fault.HEAD, detail)

    def _pass_over(self, last: int) -> Break | None:
        """Go on to ``last``, as far as what is before it is elsewhere.

        Answers the run that does not follow what is before it."""
        for run in self._elsewhere:
            if not (self.position < last and run.first <= self.position + 1 <= run.last):
                continue
            begins = run.first == self.position + 1
            if begins and self.hash is not None and self.hash.hex() != run.previous_hash:
                detail = (
                    f"the entries {run.first} to {run.last}, which are elsewhere, follow the hash"
                    f" {run.previous_hash}, the entry before has {self.hash.hex()}"
                )
                return Break(self.tenant, run.first, None, Fault.LINK, detail)
            whole = run.last <= last
            self.position = run.last if whole else last
            self.hash = bytes.fromhex(run.hash) if whole else None
        return None

    def _break(self, entry: Mapping[str, Any], fault: Fault, detail: str) -> Break:
        return Break(self.tenant, entry["position"], entry["id"], fault, detail)
