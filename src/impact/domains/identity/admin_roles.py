"""The routes to roles, their policies and permission checks, for staff."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from impact.domains.identity import read
from impact.domains.identity.access import permissions_of
from impact.domains.identity.authority import permissions_of_user
from impact.domains.identity.schemas import (
    CheckPermissions,
    CreatePolicy,
    CreateRole,
    PermissionResults,
    PolicyList,
    PolicyResponse,
    RoleList,
    RoleResponse,
    UpdateRole,
)
from impact.domains.identity.service import RoleService
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Many, Paging, Search, Word
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.schemas import Deleted
from impact.engine.security.permissions import public, requires
from impact.engine.text import like_pattern
from impact.errors import ForbiddenError


class AdminRoles(Controller):
    path = "/roles"
    tags = ("Admin roles",)

    @get(opt=requires("role:read") | listing(read.roles))
    async def list_roles(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        name: Many[Word] = None,
    ) -> Response[RoleList]:
        filters = {"q": like_pattern(q) if q else None, "id": id, "name": name}
        return await list_of(
            read.roles, "roles", runtime, context, paging, fields=fields, filters=filters
        )

    @post(opt=requires("role:create"), status_code=200)
    async def create_role(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        data: JSONBody[CreateRole],
    ) -> Response[RoleResponse]:
        async with runtime.database.write(context) as session:
            id = await RoleService(session, permissions_of(request)).create(data)
            return await written(read.roles, "role", session, id)

    @get("/{id:uuid}", opt=requires("role:read"))
    async def get_role(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[RoleResponse]:
        return await one_of(read.roles, "role", runtime, context, id, fields=fields)

    @post("/{id:uuid}", opt=requires("role:update"), status_code=200)
    async def update_role(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[UpdateRole],
    ) -> Response[RoleResponse]:
        async with changing(read.roles, "role", runtime, context, id) as session:
            await RoleService(session, permissions_of(request)).update(id, data)
            return await written(read.roles, "role", session, id)

    @delete("/{id:uuid}", opt=requires("role:delete"), status_code=200)
    async def delete_role(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
    ) -> Response[Deleted]:
        async with changing(read.roles, "role", runtime, context, id) as session:
            await RoleService(session, permissions_of(request)).remove(id)
        return responses.deleted("role", id)


class AdminPolicies(Controller):
    path = "/policies"
    tags = ("Admin roles",)

    @get(opt=requires("policy:read") | listing(read.policies))
    async def list_policies(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        fields: Fields = None,
        id: Many[UUID] = None,
        role_id: Many[UUID] = None,
        permission: Many[Word] = None,
    ) -> Response[PolicyList]:
        filters = {"id": id, "role_id": role_id, "permission": permission}
        return await list_of(
            read.policies, "policies", runtime, context, paging, fields=fields, filters=filters
        )

    @post(opt=requires("policy:create"), status_code=200)
    async def create_policy(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        data: JSONBody[CreatePolicy],
    ) -> Response[PolicyResponse]:
        async with runtime.database.write(context) as session:
            id = await RoleService(session, permissions_of(request)).add_policy(data)
            return await written(read.policies, "policy", session, id)

    @get("/{id:uuid}", opt=requires("policy:read"))
    async def get_policy(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[PolicyResponse]:
        return await one_of(read.policies, "policy", runtime, context, id)

    @delete("/{id:uuid}", opt=requires("policy:delete"), status_code=200)
    async def delete_policy(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
    ) -> Response[Deleted]:
        async with changing(read.policies, "policy", runtime, context, id) as session:
            await RoleService(session, permissions_of(request)).remove_policy(id)
        return responses.deleted("policy", id)


class AdminPermissions(Controller):
    path = "/permissions"
    tags = ("Admin roles",)

    @post("/check", opt=public(), status_code=200)
    async def check_permissions(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        data: JSONBody[CheckPermissions],
    ) -> PermissionResults:
        """What the caller may do, without a query; or another user, who needs one."""
        permissions = permissions_of(request)
        if data.user_id is not None and data.user_id != context.actor.id:
            if not permissions.allows("user:read"):
                raise ForbiddenError("this needs the permission 'user:read'")
            async with runtime.database.read(context) as session:
                permissions = await permissions_of_user(session, data.user_id)
        return PermissionResults(results=permissions.check(data.permissions))
