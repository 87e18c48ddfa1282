"""The routes to users and the roles they hold, for staff."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from impact.context import ActorKind
from impact.domains.identity import read
from impact.domains.identity.access import permissions_of
from impact.domains.identity.schemas import (
    AssignRole,
    CreateUser,
    HeldRoleList,
    UpdateUser,
    UserList,
    UserResponse,
)
from impact.domains.identity.service import UserService
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Many, Paging, Search, Word
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.schemas import Deleted
from impact.engine.security.permissions import public, requires
from impact.engine.text import like_pattern
from impact.errors import NotFoundError


class AdminUsers(Controller):
    path = "/users"
    tags = ("Admin users",)

    @get(opt=requires("user:read") | listing(read.users))
    async def list_users(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        email: Many[Word] = None,
        is_active: FromQuery[bool | None] = None,
        role_id: Many[UUID] = None,
    ) -> Response[UserList]:
        filters = {
            "q": like_pattern(q) if q else None,
            "id": id,
            "email": None if email is None else [address.lower() for address in email],
            "is_active": is_active,
            "role_id": role_id,
        }
        return await list_of(
            read.users, "users", runtime, context, paging, fields=fields, filters=filters
        )

    @post(opt=requires("user:create"), status_code=200)
    async def create_user(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        data: JSONBody[CreateUser],
    ) -> Response[UserResponse]:
        password_hash = await runtime.passwords.hash(data.password)
        async with runtime.database.write(context) as session:
            id = await UserService(session, permissions_of(request)).create(data, password_hash)
            return await written(read.users, "user", session, id)

    @get("/me", opt=public())
    async def get_own_user(
        self, context: Context, runtime: Engine, fields: Fields = None
    ) -> Response[UserResponse]:
        """The caller, who for staff of headquarters lives there whatever shop they act on."""
        actor = context.actor
        if actor.kind is not ActorKind.USER or actor.id is None:
            raise NotFoundError("an API key is no user")
        home = context.for_tenant(actor.tenant)
        return await one_of(read.users, "user", runtime, home, actor.id, fields=fields)

    @get("/{id:uuid}", opt=requires("user:read"))
    async def get_user(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[UserResponse]:
        return await one_of(read.users, "user", runtime, context, id, fields=fields)

    @post("/{id:uuid}", opt=requires("user:update"), status_code=200)
    async def update_user(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[UpdateUser],
    ) -> Response[UserResponse]:
        password_hash = None
        if data.password is not UNSET:
            password_hash = await runtime.passwords.hash(data.password)
        async with changing(read.users, "user", runtime, context, id) as session:
            await UserService(session, permissions_of(request)).update(id, data, password_hash)
            return await written(read.users, "user", session, id)

    @delete("/{id:uuid}", opt=requires("user:delete"), status_code=200)
    async def delete_user(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
    ) -> Response[Deleted]:
        async with changing(read.users, "user", runtime, context, id) as session:
            await UserService(session, permissions_of(request)).remove(id)
        return responses.deleted("user", id)

    @get("/{id:uuid}/roles", opt=requires("user:read") | listing(read.held_roles))
    async def list_user_roles(
        self, context: Context, runtime: Engine, paging: Paging, id: FromPath[UUID]
    ) -> Response[HeldRoleList]:
        return await list_of(
            read.held_roles,
            "roles",
            runtime,
            context,
            paging,
            filters={"user_id": id},
            parent=(read.users, id),
        )

    @post("/{id:uuid}/roles", opt=requires("user:update"), status_code=200)
    async def assign_role(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        data: JSONBody[AssignRole],
    ) -> Response[UserResponse]:
        async with changing(read.users, "user", runtime, context, id) as session:
            await UserService(session, permissions_of(request)).assign(id, data)
            return await written(read.users, "user", session, id)

    @delete("/{id:uuid}/roles/{role_id:uuid}", opt=requires("user:update"), status_code=200)
    async def unassign_role(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        role_id: FromPath[UUID],
    ) -> Response[Deleted]:
        async with changing(read.users, "user", runtime, context, id) as session:
            await UserService(session, permissions_of(request)).unassign(id, role_id)
        return responses.deleted("role_assignment", role_id)
