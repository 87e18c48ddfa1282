"""Kinds of entries: what is cached, for how long, and on what it depends."""

import asyncio
import enum
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from impact.engine.db.consistency import CAUSAL, Consistency
from impact.settings import Settings

T = TypeVar("T")


class TtlClass(enum.Enum):
    """The classes of data, whose times are settings: ``IMPACT_<class>_CACHE_TTL``."""

    RBAC = "rbac"
    TENANT = "tenant"
    CONTENT = "catalog"
    BASKET = "cart"
    REPORT = "report"

    def times(self, settings: Settings) -> tuple[float, float]:
        """Seconds in L1 and in L2."""
        if self is TtlClass.RBAC:
            return settings.rbac_cache_ttl, settings.rbac_cache_shared_ttl
        seconds: float = getattr(settings, f"{self.value}_cache_ttl")
        return seconds, seconds

    def keeps(self, settings: Settings) -> bool:
        return self.times(settings)[0] > 0

    def lifetime(self, settings: Settings, missing: str | None) -> float:
        """Seconds until an entry's time in L2 is up, scattered so that what was filled together
        does not end together."""
        _, far = self.times(settings)
        keep = min(far, settings.cache_negative_ttl) if missing is not None else far
        return keep * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """``entity`` names the kind in keys and figures. ``depends`` names the entities a change of
    which ends an entry. ``negative`` keeps that a thing was not found. Any change of the
    entities in ``also`` ends an entry too. A ``slow`` one may take as
    long as a report."""

    entity: str
    ttl: TtlClass
    depends: tuple[str, ...]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    consistency: Consistency = CAUSAL
    negative: bool = True
    slow: bool = False
    also: tuple[str, ...] = ()


def digest(body: bytes) -> str:
    """A short name for a body, equal for equal bytes alone (BLAKE2b, 64 bits)."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class Body:
    """A response's body: JSON, and its packed forms by content coding once somebody asked for
    them; ``packing`` are those under way."""

    __slots__ = ("_digest", "json", "packed", "packing")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._digest = ""
        self.packed: dict[str, bytes] = {}
        self.packing: dict[str, asyncio.Task[bytes]] = {}

    @property
    def digest(self) -> str:
        """A millisecond for a megabyte, so only once, and only of bodies that need a tag."""
        if not self._digest:
            self._digest = digest(self.json)
        return self._digest


def body_kind(
    entity: str,
    ttl: TtlClass,
    *,
    depends: tuple[str, ...] | None = None,
    also: tuple[str, ...] = (),
    slow: bool = False,
) -> Kind[Body]:
    """Response bodies, kept encoded: a hit costs no serialisation."""
    return Kind(
        entity,
        ttl,
        (entity,) if depends is None else depends,
        encode=lambda body: body.json,
        decode=Body,
        also=also,
        slow=slow,
    )


def struct_kind(
    entity: str,
    ttl: TtlClass,
    type: type[T],
    *,
    depends: tuple[str, ...] | None = None,
    consistency: Consistency = CAUSAL,
    slow: bool = False,
) -> Kind[T]:
    """Values of a type that msgspec knows: structs, lists of them, numbers."""
    return Kind(
        entity,
        ttl,
        (entity,) if depends is None else depends,
        encode=msgspec.msgpack.Encoder().encode,
        decode=msgspec.msgpack.Decoder(type).decode,
        consistency=consistency,
        negative=False,
        slow=slow,
    )
