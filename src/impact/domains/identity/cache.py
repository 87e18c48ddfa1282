"""What callers may do, cached per user and per key.

One tag a tenant: a role is changed rarely, and read at each request.
"""

import msgspec

from impact.engine.cache.invalidation import Effect, declare
from impact.engine.cache.kinds import Kind, TtlClass
from impact.engine.db.consistency import Consistency, Level
from impact.engine.security.permissions import PermissionSet

declare("admin_user", Effect("rbac"))
declare("role", Effect("rbac"))
declare("rbac_policy", Effect("rbac"))
declare("role_assignment", Effect("rbac"))
declare("api_key", Effect("rbac"))

FRESH = Consistency(Level.CAUSAL, max_lag=1.0)
"""How old the rights that a request is judged by may be where they are read from a replica."""


class UserGrant(msgspec.Struct, frozen=True, array_like=True):
    """What a user holds at home, and what of it in every shop."""

    is_active: bool
    held: list[str]
    spanning: list[str]


class KeyGrant(msgspec.Struct, frozen=True, array_like=True):
    """A key that works, and what its role holds."""

    id: str
    kind: str
    permissions: list[str]


class UserAccess:
    """A user's grant with its sets of permissions compiled, once per version."""

    __slots__ = ("grant", "held", "spanning")

    def __init__(self, grant: UserGrant | None) -> None:
        self.grant = grant
        self.held = PermissionSet(grant.held if grant else ())
        self.spanning = PermissionSet(grant.spanning if grant else ())


class KeyAccess:
    """A key's grant with its set of permissions compiled; without one the key does not work."""

    __slots__ = ("grant", "permissions")

    def __init__(self, grant: KeyGrant | None) -> None:
        self.grant = grant
        self.permissions = PermissionSet(grant.permissions if grant else ())


_encode = msgspec.msgpack.encode
_user = msgspec.msgpack.Decoder(UserGrant | None)
_key = msgspec.msgpack.Decoder(KeyGrant | None)

users: Kind[UserAccess] = Kind(
    "rbac",
    TtlClass.RBAC,
    ("rbac",),
    encode=lambda access: _encode(access.grant),
    decode=lambda raw: UserAccess(_user.decode(raw)),
    consistency=FRESH,
    negative=False,
)
api_keys: Kind[KeyAccess] = Kind(
    "rbac",
    TtlClass.RBAC,
    ("rbac",),
    encode=lambda access: _encode(access.grant),
    decode=lambda raw: KeyAccess(_key.decode(raw)),
    consistency=FRESH,
    negative=False,
)
