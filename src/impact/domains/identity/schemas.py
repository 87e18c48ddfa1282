"""Requests and responses about users, roles, policies and API keys. No hash ever stands here."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from impact.engine.schemas import (
    Email,
    Input,
    LongText,
    Output,
    PageOut,
    Password,
    Patch,
    ShortText,
    Timestamp,
)
from impact.engine.security.permissions import PERMISSION_PATTERN

Permission = Annotated[str, Meta(pattern=PERMISSION_PATTERN, max_length=128)]
Permissions = Annotated[list[Permission], Meta(max_length=500)]
KeyType = Literal["publishable", "secret"]


class CreateUser(Input):
    email: Email
    password: Password
    first_name: ShortText | None = None
    last_name: ShortText | None = None
    role_ids: Annotated[list[UUID], Meta(max_length=50)] = []


class UpdateUser(Patch):
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    first_name: ShortText | UnsetType | None = UNSET
    last_name: ShortText | UnsetType | None = UNSET
    is_active: bool | UnsetType = UNSET


class AssignRole(Input):
    role_id: UUID
    spans_tenants: bool = False


class CreateRole(Input):
    name: ShortText
    description: LongText | None = None
    permissions: Permissions = []


class UpdateRole(Patch):
    name: ShortText | UnsetType = UNSET
    description: LongText | UnsetType | None = UNSET
    permissions: Permissions | UnsetType = UNSET
    """The whole set: those not named are taken away."""


class CreatePolicy(Input):
    role_id: UUID
    permission: Permission


class CreateApiKey(Input):
    title: ShortText
    type: KeyType
    role_id: UUID | None = None
    """What a secret key may do; a publishable key has none."""


class CheckPermissions(Input):
    permissions: Annotated[list[Permission], Meta(min_length=1, max_length=1000)]
    user_id: UUID | None = None
    """Whose permissions; the caller's where it is absent."""


class RoleReference(Output):
    id: UUID
    name: str
    spans_tenants: bool


class UserOut(Output):
    id: UUID
    email: str
    first_name: str | None
    last_name: str | None
    is_active: bool
    roles: list[RoleReference]
    created_at: Timestamp
    updated_at: Timestamp


class HeldRoleOut(Output):
    """A role as a user holds it; ``id`` is the role's."""

    id: UUID
    name: str
    description: str | None
    spans_tenants: bool
    permissions: list[str]
    created_at: Timestamp


class RoleOut(Output):
    id: UUID
    name: str
    description: str | None
    permissions: list[str]
    created_at: Timestamp
    updated_at: Timestamp


class PolicyOut(Output):
    id: UUID
    role_id: UUID
    permission: str
    created_at: Timestamp
    updated_at: Timestamp


class ApiKeyOut(Output):
    id: UUID
    title: str
    type: str
    redacted: str
    role_id: UUID | None
    revoked_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class NewApiKeyOut(ApiKeyOut):
    token: str
    """The key itself, shown this once."""


class UserList(PageOut):
    users: list[UserOut]


class UserResponse(Output):
    user: UserOut


class HeldRoleList(PageOut):
    roles: list[HeldRoleOut]


class RoleList(PageOut):
    roles: list[RoleOut]


class RoleResponse(Output):
    role: RoleOut


class PolicyList(PageOut):
    policies: list[PolicyOut]


class PolicyResponse(Output):
    policy: PolicyOut


class ApiKeyList(PageOut):
    api_keys: list[ApiKeyOut]


class ApiKeyResponse(Output):
    api_key: ApiKeyOut


class NewApiKeyResponse(Output):
    api_key: NewApiKeyOut


class PermissionResults(Output):
    results: dict[str, bool]
