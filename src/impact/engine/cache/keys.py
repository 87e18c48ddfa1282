"""Keys and tags: what an entry is called, and whose changes end it.

Neither can be made without a tenant, and no part can hold the separator, so no two tenants'
names can meet (P3).
"""

import functools
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from impact.engine.db.tenancy import validate_slug
from impact.errors import InvalidDataError, Problem

SCHEMA = 2
"""Raised whenever what entries hold changes its form: releases side by side share no entry."""

EVERYTHING = "*"
_ENTITY = re.compile(r"^[a-z]+(-[a-z]+)*$")
_PART = re.compile(r"^[A-Za-z0-9_.~-]{1,128}$")
_NO_TENANT = "none"


class Key(NamedTuple):
    """One entry's name. Make it with ``make_key``."""

    tenant: str
    entity: str
    id: str
    operation: str

    def redis(self, service: str, incarnation: str) -> str:
        """As Redis knows it. The braces keep a tenant's keys on one node of a cluster."""
        return (
            f"{service}:{{{self.tenant}}}:{self.entity}:{self.id}:{self.operation}"
            f":v{SCHEMA}.{incarnation}"
        )


@functools.lru_cache(maxsize=4096)
def make_key(tenant: str, entity: str, id: UUID | str, operation: str) -> Key:
    """The key of ``operation`` on one entity. Raises ValueError for a part that could be read
    as two, InvalidDataError for what is no tenant. Those of late are remembered, as the checks
    take longer than a hit."""
    _check_tenant(tenant)
    text = str(id)
    if not (_ENTITY.fullmatch(entity) and _PART.fullmatch(text) and _PART.fullmatch(operation)):
        raise ValueError(f"no part of a cache key may be {entity!r}, {text!r} or {operation!r}")
    return Key(tenant, entity, text, operation)


def digest(*parts: object) -> str:
    """A short name for what a request asked, equal for equal questions alone (BLAKE2b, 128
    bits)."""
    encoded = msgspec.msgpack.encode(parts, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def whole_tenant(tenant: str) -> str:
    """The tag on which each of a tenant's entries depends."""
    return f"{_check_tenant(tenant)}:{EVERYTHING}"


def every(tenant: str, entity: str) -> str:
    """The tag on which each entry about the entity depends: raising it is the wildcard."""
    return f"{_check_tenant(tenant)}:{entity}:{EVERYTHING}"


def some(tenant: str, entity: str) -> str:
    """The tag raised by every change to the entity: what lists depend on."""
    return f"{_check_tenant(tenant)}:{entity}"


def one(tenant: str, entity: str, id: object) -> str:
    """The tag of one row."""
    return f"{_check_tenant(tenant)}:{entity}:{id}"


def changed(tenant: str, entity: str, id: object | None) -> tuple[str, str]:
    """The tags that a change raises; without an id, those of a change to unknown rows."""
    row = every(tenant, entity) if id is None else one(tenant, entity, id)
    return some(tenant, entity), row


def depends(
    tenant: str, entities: Iterable[str], id: object | None, also: Iterable[str] = ()
) -> tuple[str, ...]:
    """The tags of an entry about one row of each entity, or without an id about any row, and
    about any row of those named ``also``."""
    tags = [whole_tenant(tenant)]
    for entity in also:
        tags += [every(tenant, entity), some(tenant, entity)]
    for entity in entities:
        tags.append(every(tenant, entity))
        tags.append(some(tenant, entity) if id is None else one(tenant, entity, id))
    return tuple(tags)


def tag_key(tag: str, service: str, incarnation: str) -> str:
    """A tag's key in Redis, on the same node as its tenant's entries."""
    tenant, _, rest = tag.partition(":")
    return f"{service}:{{{tenant}}}#{rest}:v{SCHEMA}.{incarnation}"


def tags_of_pattern(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Tenant and tags of ``product:paris:*``, ``product:paris:<id>`` or ``*:paris:*``.

    Raises InvalidDataError for anything else.
    """
    parts = pattern.split(":")
    if len(parts) == 3:
        entity, tenant, id = parts
        if entity == EVERYTHING and id == EVERYTHING:
            return tenant, (whole_tenant(tenant),)
        if _ENTITY.fullmatch(entity) and (id == EVERYTHING or _PART.fullmatch(id)):
            return tenant, changed(tenant, entity, None if id == EVERYTHING else id)
    message = "a pattern is entity:tenant:id, where the id, or entity and id, may be *"
    raise InvalidDataError(message, problems=[Problem(message, pointer="/pattern")])


def _check_tenant(tenant: str) -> str:
    if tenant == _NO_TENANT:
        raise InvalidDataError("nothing is cached without a tenant")
    return validate_slug(tenant)
