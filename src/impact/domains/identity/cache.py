"""What callers may do, cached per user and per key.

One tag a tenant: a role is changed rarely, and read at each request.
"""

import msgspec

from impact.engine.cache.invalidation import Effect, declare
from impact.engine.cache.kinds import Kind, TtlClass, struct_kind
from impact.engine.db.consistency import FRESH
from impact.engine.security.permissions import PermissionSet

declare("admin_user", Effect("rbac"))
declare("role", Effect("rbac"))
declare("rbac_policy", Effect("rbac"))
declare("role_assignment", Effect("rbac"))
declare("api_key", Effect("rbac"))


class AccountGrant(msgspec.Struct, frozen=True, array_like=True):
    """Which of an account's tokens are void: those issued before ``tokens_after`` (seconds since
    1970), and those of a login that was ended alone (``Claims.login``)."""

    tokens_after: float
    logins_ended: frozenset[str]


class UserGrant(AccountGrant, frozen=True, array_like=True):
    """What a user holds at home, and what of it in every shop."""

    is_active: bool
    held: list[str]
    spanning: list[str]


class CustomerGrant(AccountGrant, frozen=True, array_like=True):
    """That a customer has an account."""


class KeyGrant(msgspec.Struct, frozen=True, array_like=True):
    """A key that works, and what its role holds."""

    id: str
    kind: str
    permissions: list[str]


class UserAccess:
    """A user's grant with its sets of permissions compiled, once per version."""

    __slots__ = ("grant", "held", "spanning")

    def __init__(self, grant: UserGrant) -> None:
        self.grant = grant
        self.held = PermissionSet(grant.held)
        self.spanning = PermissionSet(grant.spanning)


class KeyAccess:
    """A key's grant with its set of permissions compiled."""

    __slots__ = ("grant", "permissions")

    def __init__(self, grant: KeyGrant) -> None:
        self.grant = grant
        self.permissions = PermissionSet(grant.permissions)


_encode = msgspec.msgpack.encode
_user = msgspec.msgpack.Decoder(UserGrant)
_key = msgspec.msgpack.Decoder(KeyGrant)

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
customers = struct_kind("customer", TtlClass.RBAC, CustomerGrant, consistency=FRESH)
