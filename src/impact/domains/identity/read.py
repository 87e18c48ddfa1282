"""The read models of users, roles, policies and API keys."""

from impact.domains.identity.schemas import (
    ApiKeyOut,
    HeldRoleOut,
    PolicyOut,
    RoleOut,
    RoleReference,
    UserOut,
)
from impact.engine.db.readmodel import ReadModel, json_list, json_object

PERMISSIONS = json_list(
    "p.permission",
    "rbac_policy p",
    where="p.tenant_id = r.tenant_id AND p.role_id = r.id",
    order="p.permission",
)

users = ReadModel(
    "identity.user",
    "admin_user u",
    json_object(
        UserOut,
        "u",
        roles=json_list(
            json_object(RoleReference, "r", spans_tenants="a.spans_tenants"),
            "role_assignment a JOIN role r ON r.tenant_id = a.tenant_id AND r.id = a.role_id",
            where="a.tenant_id = u.tenant_id AND a.user_id = u.id",
            order="r.name",
        ),
    ),
    sorts={
        "created_at": "u.created_at",
        "updated_at": "u.updated_at",
        "email": "lower(u.email)",
        "id": "u.id",
    },
    filters={
        "q": "lower(u.email || ' ' || coalesce(u.first_name, '') || ' '"
        " || coalesce(u.last_name, '')) LIKE lower(:q)",
        "email": "lower(u.email) = ANY(:email)",
        "is_active": "u.is_active = :is_active",
        "role_id": "EXISTS (SELECT FROM role_assignment a WHERE a.tenant_id = u.tenant_id"
        " AND a.user_id = u.id AND a.role_id = ANY(:role_id))",
    },
    noun="User",
)
held_roles = ReadModel(
    "identity.held_role",
    "role_assignment a",
    "(SELECT "
    + json_object(
        HeldRoleOut,
        "r",
        spans_tenants="a.spans_tenants",
        created_at="a.created_at",
        permissions=PERMISSIONS,
    )
    + " FROM role r WHERE r.tenant_id = a.tenant_id AND r.id = a.role_id)",
    sorts={"created_at": "a.created_at", "id": "a.id"},
    filters={"user_id": "a.user_id = :user_id"},
    noun="Role",
)
roles = ReadModel(
    "identity.role",
    "role r",
    json_object(RoleOut, "r", permissions=PERMISSIONS),
    sorts={
        "created_at": "r.created_at",
        "updated_at": "r.updated_at",
        "name": "r.name",
        "id": "r.id",
    },
    filters={"q": "lower(r.name) LIKE lower(:q)", "name": "r.name = ANY(:name)"},
    noun="Role",
)
policies = ReadModel(
    "identity.policy",
    "rbac_policy p",
    json_object(PolicyOut, "p"),
    sorts={"created_at": "p.created_at", "permission": "p.permission", "id": "p.id"},
    filters={
        "role_id": "p.role_id = ANY(:role_id)",
        "permission": "p.permission = ANY(:permission)",
    },
    noun="Policy",
)
api_keys = ReadModel(
    "identity.api_key",
    "api_key k",
    json_object(ApiKeyOut, "k", type="k.kind"),
    sorts={
        "created_at": "k.created_at",
        "updated_at": "k.updated_at",
        "title": "k.title",
        "id": "k.id",
    },
    filters={
        "q": "lower(k.title) LIKE lower(:q)",
        "type": "k.kind = :type",
        "revoked": "(k.revoked_at IS NOT NULL) = :revoked",
        "role_id": "k.role_id = ANY(:role_id)",
    },
    noun="API key",
)
