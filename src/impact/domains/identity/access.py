"""Who is let in: the guards of the store and the admin routers (section 9).

Each is attached once, to its audience's router. A route that carries no mark is refused, so
that forgetting one fails closed.
"""

import base64
import contextlib
from typing import Any
from uuid import UUID

import asyncpg
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope

from impact.context import HEADQUARTERS, Actor, ActorKind, RequestContext
from impact.domains.identity import cache
from impact.domains.identity.cache import (
    AccountGrant,
    CustomerGrant,
    KeyAccess,
    KeyGrant,
    UserAccess,
    UserGrant,
)
from impact.domains.identity.lookup import look_up_cached
from impact.domains.tenants import cache as tenants
from impact.domains.tenants.cache import TenantConfig
from impact.engine.cache.keys import make_key
from impact.engine.db.statements import Statement
from impact.engine.http.limits import charge
from impact.engine.http.middleware import NO_TENANT, context_of
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import PERMISSION_KEY, PUBLIC, PermissionSet
from impact.engine.security.tokens import hash_api_key, tenant_of_api_key
from impact.errors import (
    ForbiddenError,
    ImpactError,
    InvalidDataError,
    NotAllowedError,
    Problem,
    TenantMismatchError,
    UnauthorizedError,
)

CUSTOMER = "customer"
"""The mark of a store route that needs a customer's token."""

_USER_ACCESS = Statement(
    "identity.user_access",
    """
    SELECT u.is_active, coalesce(extract(epoch FROM u.tokens_after), 0)::float8 AS tokens_after,
           array(SELECT jsonb_object_keys(u.logins_ended)) AS logins_ended,
           coalesce(array_agg(DISTINCT p.permission) FILTER (WHERE p.permission IS NOT NULL),
                    '{}') AS held,
           coalesce(array_agg(DISTINCT p.permission) FILTER (WHERE a.spans_tenants
                    AND p.permission IS NOT NULL), '{}') AS spanning
    FROM admin_user u
    LEFT JOIN role_assignment a ON a.tenant_id = u.tenant_id AND a.user_id = u.id
    LEFT JOIN rbac_policy p ON p.tenant_id = a.tenant_id AND p.role_id = a.role_id
    WHERE u.tenant_id = :tenant_id AND u.id = :user_id
    GROUP BY u.is_active, u.tokens_after, u.logins_ended
    """,
)
_KEY_ACCESS = Statement(
    "identity.key_access",
    """
    SELECT k.id, k.kind,
           coalesce((SELECT array_agg(p.permission) FROM rbac_policy p
                      WHERE p.tenant_id = k.tenant_id AND p.role_id = k.role_id), '{}')
             AS permissions
    FROM api_key k
    WHERE k.tenant_id = :tenant_id AND k.token_hash = :token_hash AND k.revoked_at IS NULL
    """,
)
_TENANT = Statement(
    "tenants.by_slug",
    "SELECT status, currency_code, allowed_origins FROM tenant WHERE id = :tenant_id",
)
_CUSTOMER_ACCESS = Statement(
    "identity.customer_access",
    """
    SELECT coalesce(extract(epoch FROM tokens_after), 0)::float8 AS tokens_after,
           array(SELECT jsonb_object_keys(logins_ended)) AS logins_ended
    FROM customer
    WHERE tenant_id = :tenant_id AND id = :customer_id AND has_account
    """,
)


def customer() -> dict[str, Any]:
    """A store route's mark: only a customer who is logged in."""
    return {PERMISSION_KEY: CUSTOMER}


def permissions_of(connection: ASGIConnection[Any, Any, Any, Any]) -> PermissionSet:
    """What the caller of an admin route may do, as its guard resolved it."""
    found: PermissionSet = connection.scope["state"]["permissions"]
    return found


async def admin_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Lets in staff and secret keys that hold the route's permission, for one tenant."""
    if _asks_for_methods(connection, handler):
        return
    context = context_of(connection)
    permissions = await _admit_staff(connection, context)
    connection.scope["state"]["permissions"] = permissions
    await charge(connection, context, handler)
    _need_mark(permissions, handler)


async def platform_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Lets in staff of headquarters alone: what these routes show is of all shops."""
    if _asks_for_methods(connection, handler):
        return
    context = context_of(connection)
    await admit_platform(connection, context, handler)
    await charge(connection, context, handler)


async def admit_platform(
    connection: ASGIConnection[Any, Any, Any, Any],
    context: RequestContext,
    handler: BaseRouteHandler,
) -> None:
    """Raises ForbiddenError and UnauthorizedError. A request that lasts is asked again, each time
    with a new context: one remembers what it has seen."""
    permissions = await _admit_staff(connection, context)
    if not context.actor.tenant == context.tenant == HEADQUARTERS:
        raise ForbiddenError(
            f"this is of all shops, and for staff of headquarters ('{HEADQUARTERS}') alone"
        )
    _need_mark(permissions, handler)


async def _admit_staff(
    connection: ASGIConnection[Any, Any, Any, Any], context: RequestContext
) -> PermissionSet:
    runtime: Runtime = connection.app.state.runtime
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    token = _bearer(scheme, credentials.strip())
    if token.startswith(("sk_", "pk_")):
        return await _admit_key(runtime, context, token)
    return await _admit_user(runtime, context, token)


def _need_mark(permissions: PermissionSet, handler: BaseRouteHandler) -> None:
    mark = handler.opt.get(PERMISSION_KEY)
    if mark is None:
        raise ImpactError(f"route {handler.handler_name} carries no permission")
    if mark != PUBLIC and not permissions.allows(mark):
        raise ForbiddenError(f"this needs the permission '{mark}'")


async def shop_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Finds the shop by publishable key or tenant header."""
    context = context_of(connection)
    runtime: Runtime = connection.app.state.runtime
    key = connection.headers.get("x-publishable-api-key")
    if key is not None:
        await _admit_storefront(runtime, context, key)
    elif context.tenant != NO_TENANT:
        await admit_tenant(runtime, context)
    else:
        raise NotAllowedError(
            "Publishable API key required in the request header: x-publishable-api-key"
            " (or the tenant in x-tenant-id)"
        )


async def store_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Finds the shop, and the customer by token."""
    if _asks_for_methods(connection, handler):
        return
    await shop_guard(connection, handler)
    context = context_of(connection)
    runtime: Runtime = connection.app.state.runtime
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    mark = handler.opt.get(PERMISSION_KEY)
    if scheme:
        bearer = _bearer(scheme, credentials.strip())
        context.actor = runtime.tokens.read(bearer, ActorKind.CUSTOMER, context)
        if context.actor.tenant != context.tenant:
            raise TenantMismatchError("this token belongs to another shop")
        await require_customer(runtime, context)
    await charge(connection, context, handler)
    if mark is None:
        raise ImpactError(f"route {handler.handler_name} carries no mark")
    if mark == CUSTOMER and context.actor.kind is not ActorKind.CUSTOMER:
        raise UnauthorizedError("log in as a customer first")


def _asks_for_methods(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> bool:
    """Whether this is the framework's own answer to OPTIONS: the path's methods, and no more.

    A browser's preflight request carries no token.
    """
    return connection.scope.get("method") == "OPTIONS" and PERMISSION_KEY not in handler.opt


async def admit_tenant(runtime: Runtime, context: RequestContext) -> None:
    """Check that the context's tenant exists and trades, and take its currency.

    Raises InvalidDataError without a tenant, NotAllowedError for one that is unknown.
    """
    if context.tenant == NO_TENANT:
        message = "name the shop in the header x-tenant-id"
        raise InvalidDataError(message, problems=[Problem(message, parameter="x-tenant-id")])
    key = make_key(context.tenant, "tenant", "config", "config")
    config = await look_up_cached(runtime, tenants.config, key, context, _TENANT, _config)
    if config is None:
        raise NotAllowedError(f"there is no shop '{context.tenant}'", code="unknown_tenant")
    if config.status != "active":
        message = f"the shop '{context.tenant}' is {config.status}"
        raise ForbiddenError(message, code="tenant_inactive")
    context.currency_code = config.currency_code
    context.allowed_origins = config.allowed_origins
    context.admitted = True


async def find_origins(runtime: Runtime, scope: HTTPScope, context: RequestContext) -> None:
    """Take the list of pages of the shop that a refused request names, by header or by key."""
    tenant, key = context.tenant, dict(scope["headers"]).get(b"x-publishable-api-key")
    # A list that cannot be had now is no reason to answer something else.
    with contextlib.suppress(ImpactError):
        if tenant == NO_TENANT and key is not None:
            tenant = tenant_of_api_key(key.decode("latin-1"), "publishable")
        if tenant == NO_TENANT:
            return
        name = make_key(tenant, "tenant", "config", "config")
        own = context.for_tenant(tenant)
        own.address = context.address
        config = await look_up_cached(runtime, tenants.config, name, own, _TENANT, _config)
        if config is not None:
            context.allowed_origins = config.allowed_origins


def _config(row: asyncpg.Record) -> TenantConfig:
    origins = frozenset(row["allowed_origins"])
    return TenantConfig(row["status"], row["currency_code"], origins)


async def _admit_user(runtime: Runtime, context: RequestContext, token: str) -> PermissionSet:
    context.actor = actor = runtime.tokens.read(token, ActorKind.USER, context)
    target = actor.tenant if context.tenant == NO_TENANT else context.tenant
    if actor.tenant not in (target, HEADQUARTERS):
        raise TenantMismatchError(f"this token is for '{actor.tenant}', not for '{target}'")
    access = await _require_user(runtime, context, actor)
    context.tenant = target
    await admit_tenant(runtime, context)
    return access.held if actor.tenant == target else access.spanning


async def _require_user(runtime: Runtime, context: RequestContext, actor: Actor) -> UserAccess:
    """Raises UnauthorizedError where the user is gone, inactive, or ended the token."""
    access = await user_access(runtime, context, actor)
    if access is None or not access.grant.is_active:
        raise UnauthorizedError("this user can no longer log in")
    _require_current(context, access.grant)
    return access


async def user_access(runtime: Runtime, context: RequestContext, actor: Actor) -> UserAccess | None:
    """What a user may do at home and elsewhere, compiled: once per change of their tenant's
    roles, wherever the change was made. None for a user who is gone."""
    key = make_key(actor.tenant, "rbac", actor.id, "grant")
    # Asked here as well: the call below takes as long as what it finds out.
    found = runtime.cache.at_hand(cache.users, key, context)
    if found is not None:
        return found
    return await look_up_cached(
        runtime, cache.users, key, context, _USER_ACCESS, _user, user_id=actor.id
    )


def _user(row: asyncpg.Record) -> UserAccess:
    ended = row["tokens_after"], frozenset(row["logins_ended"])
    return UserAccess(UserGrant(*ended, row["is_active"], row["held"], row["spanning"]))


async def require_customer(runtime: Runtime, context: RequestContext) -> None:
    """Raise UnauthorizedError where the customer has no account, or ended the token."""
    id = context.actor.id
    key = make_key(context.tenant, "customer", id, "grant")
    grant = await look_up_cached(
        runtime,
        cache.customers,
        key,
        context,
        _CUSTOMER_ACCESS,
        _customer,
        row_id=id,
        customer_id=id,
    )
    if grant is None:
        raise UnauthorizedError("this customer has no account any more")
    _require_current(context, grant)


def _customer(row: asyncpg.Record) -> CustomerGrant:
    return CustomerGrant(row["tokens_after"], frozenset(row["logins_ended"]))


def _require_current(context: RequestContext, grant: AccountGrant) -> None:
    """Raise UnauthorizedError for a token of a login that was ended, or of before its account
    ended all it had."""
    claims = context.claims
    if claims is None:
        return
    alone = bool(grant.logins_ended) and claims.login in grant.logins_ended
    if alone or claims.issued < grant.tokens_after:
        raise UnauthorizedError("this token was ended; log in again")


async def _admit_key(runtime: Runtime, context: RequestContext, token: str) -> PermissionSet:
    access = await _key_access(runtime, context, token, "secret")
    if access is None:
        raise UnauthorizedError("this API key is not valid")
    await admit_tenant(runtime, context)
    context.actor = Actor(ActorKind.API_KEY, context.tenant, UUID(access.grant.id))
    return access.permissions


async def _admit_storefront(runtime: Runtime, context: RequestContext, key: str) -> None:
    try:
        access = await _key_access(runtime, context, key, "publishable")
    except UnauthorizedError:
        access = None
    if access is None:
        raise NotAllowedError("A valid publishable key is required to proceed with the request")
    await admit_tenant(runtime, context)


async def _key_access(
    runtime: Runtime, context: RequestContext, token: str, kind: str
) -> KeyAccess | None:
    tenant = tenant_of_api_key(token, kind)
    if context.tenant not in (NO_TENANT, tenant):
        raise TenantMismatchError(f"this key is for '{tenant}', not for '{context.tenant}'")
    context.tenant = tenant
    hashed = hash_api_key(token)
    key = make_key(tenant, "rbac", hashed.hex(), "key")
    access = await look_up_cached(
        runtime, cache.api_keys, key, context, _KEY_ACCESS, _key, token_hash=hashed
    )
    return access if access is not None and access.grant.kind == kind else None


def _key(row: asyncpg.Record) -> KeyAccess:
    return KeyAccess(KeyGrant(str(row["id"]), row["kind"], row["permissions"]))


def _bearer(scheme: str, credentials: str) -> str:
    """The token of ``Bearer TOKEN``, or the key of ``Basic base64(KEY:)`` as Medusa's client
    sends it."""
    if scheme.lower() == "bearer" and credentials:
        return credentials
    if scheme.lower() == "basic" and credentials:
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except ValueError:
            raise UnauthorizedError("the Authorization header cannot be read") from None
    raise UnauthorizedError("send a token: Authorization: Bearer ...")


async def account_guard(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Lets in whoever shows a valid token, of staff or of a customer, to their own account."""
    context = context_of(connection)
    runtime: Runtime = connection.app.state.runtime
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    token = _bearer(scheme, credentials.strip())
    try:
        context.actor = runtime.tokens.read(token, ActorKind.USER, context)
    except UnauthorizedError:
        context.actor = runtime.tokens.read(token, ActorKind.CUSTOMER, context)
    # Staff of headquarters may name the shop that they act on; their account is at home.
    context.tenant = context.actor.tenant
    if context.actor.kind is ActorKind.USER:
        await _require_user(runtime, context, context.actor)
    else:
        await require_customer(runtime, context)
    await admit_tenant(runtime, context)
