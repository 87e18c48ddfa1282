"""The routes to API keys, for staff."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from impact.domains.identity import read
from impact.domains.identity.access import permissions_of
from impact.domains.identity.keys import ApiKeyService
from impact.domains.identity.schemas import (
    ApiKeyList,
    ApiKeyOut,
    ApiKeyResponse,
    CreateApiKey,
    KeyType,
    NewApiKeyOut,
    NewApiKeyResponse,
)
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Many, Paging, Search
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.schemas import Deleted
from impact.engine.security.permissions import requires
from impact.engine.text import like_pattern


class AdminApiKeys(Controller):
    path = "/api-keys"
    tags = ("Admin API keys",)

    @get(opt=requires("api-key:read") | listing(read.api_keys))
    async def list_api_keys(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        type: FromQuery[KeyType | None] = None,
        revoked: FromQuery[bool | None] = None,
        role_id: Many[UUID] = None,
    ) -> Response[ApiKeyList]:
        filters = {
            "q": like_pattern(q) if q else None,
            "id": id,
            "type": type,
            "revoked": revoked,
            "role_id": role_id,
        }
        return await list_of(
            read.api_keys, "api_keys", runtime, context, paging, fields=fields, filters=filters
        )

    @post(opt=requires("api-key:create"), status_code=200)
    async def create_api_key(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        data: JSONBody[CreateApiKey],
    ) -> NewApiKeyResponse:
        async with runtime.database.write(context) as session:
            id, token = await ApiKeyService(session, permissions_of(request)).create(data)
            body = await read.api_keys.one(session, id)
        key = msgspec.structs.asdict(msgspec.json.decode(body, type=ApiKeyOut))
        return NewApiKeyResponse(api_key=NewApiKeyOut(**key, token=token))

    @get("/{id:uuid}", opt=requires("api-key:read"))
    async def get_api_key(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[ApiKeyResponse]:
        return await one_of(read.api_keys, "api_key", runtime, context, id, fields=fields)

    @post("/{id:uuid}/revoke", opt=requires("api-key:update"), status_code=200)
    async def revoke_api_key(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
    ) -> Response[ApiKeyResponse]:
        async with changing(read.api_keys, "api_key", runtime, context, id) as session:
            await ApiKeyService(session, permissions_of(request)).revoke(id)
            return await written(read.api_keys, "api_key", session, id)

    @delete("/{id:uuid}", opt=requires("api-key:delete"), status_code=200)
    async def delete_api_key(
        self,
        request: Request[Any, Any, Any],
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
    ) -> Response[Deleted]:
        async with changing(read.api_keys, "api_key", runtime, context, id) as session:
            await ApiKeyService(session, permissions_of(request)).remove(id)
        return responses.deleted("api_key", id)
