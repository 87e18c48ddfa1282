"""How parameters, request headers and security are described."""

from typing import Any, get_args

import msgspec

from impact.engine.http.contract import Parameter
from impact.engine.schemas import END, NO_NUL
from impact.openapi.operations import Operation

ID_EXAMPLE = "0199b2b7-6d3e-7c51-9f0a-3c1d5e7f9a2b"
_BY_NAME: dict[str, Any] = {
    "action": "update",
    "actor": f"user:{ID_EXAMPLE}",
    "cart_id": ID_EXAMPLE,
    "country_code": "fr",
    "email": "ada@example.com",
    "entity": "product",
    "external_id": "536365",
    "from": "2026-11-01",
    "handle": ["linen-shirt"],
    "id": ID_EXAMPLE,
    "idempotency-key": "checkout-7d1f0c",
    "name": "orders.order_list",
    "permission": ["order:read"],
    "province": "fr-75",
    "q": "shirt",
    "region_id": "reg_01",
    "request_id": "4f1a2b3c4d5e",
    "sku": "SHIRT-S",
    "tag": ["summer"],
    "to": "2026-12-01",
}
_BY_KIND: dict[str, Any] = {
    "uuid": ID_EXAMPLE,
    "date": "2026-11-01",
    "date-time": "2026-11-23T12:00:00Z",
    "integer": 10,
    "boolean": True,
}

SECURITY_SCHEMES = {
    "staff": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of POST /auth/user/emailpass, or a secret API key (sk_...).",
    },
    "secretKey": {
        "type": "http",
        "scheme": "basic",
        "description": "A secret API key as the user's name and no password, as Medusa's client"
        " sends it.",
    },
    "customer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of POST /auth/customer/emailpass.",
    },
    "metrics": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of IMPACT_METRICS_TOKEN, where one is set.",
    },
}

HEADER_PARAMETERS: dict[str, dict[str, Any]] = {
    "tenant": {
        "name": "x-tenant-id",
        "in": "header",
        "description": "The shop. It must agree with the token or key; staff of headquarters name"
        " the one to act on.",
        "schema": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}" + END},
        "example": "paris",
    },
    "publishableKey": {
        "name": "x-publishable-api-key",
        "in": "header",
        "description": "The storefront's key. It names the shop and proves nothing: every browser"
        " has it. Without one, x-tenant-id names the shop.",
        "schema": {"type": "string", "pattern": "^pk_[a-z][a-z0-9-]*_[A-Za-z0-9_-]+" + END},
        "example": "pk_paris_fJ2mY0c1vQ8sX5tR3wK9bN7zL4dG6hA2eU1oI8pC0yM",
    },
    "ifNoneMatch": {
        "name": "if-none-match",
        "in": "header",
        "description": "The etag of an answer that the caller has: 304 while it is the newest.",
        "schema": {"type": "string"},
        "example": '"0c1b5f3d2e4a6978"',
    },
    "ifMatch": {
        "name": "if-match",
        "in": "header",
        "description": "The etag of the thing as the caller read it: 412 where it has changed.",
        "schema": {"type": "string"},
        "example": '"0c1b5f3d2e4a6978"',
    },
    "consistency": {
        "name": "x-consistency-token",
        "in": "header",
        "description": "The newest token that a write answered: what is read is no older.",
        "schema": {"type": "string", "pattern": "^([0-9A-F]{1,16}|[0-9A-F]{18,29})" + END},
        "example": "16B3748",
    },
}


def header_references(operation: Operation) -> list[dict[str, str]]:
    match operation.audience:
        case "open" if not operation.path.startswith("/auth/"):
            names = []
        case "store" | "shop":
            names = ["tenant", "publishableKey", "consistency"]
        case _:
            names = ["tenant", "consistency"]
    if operation.has_etag:
        names.append("ifNoneMatch")
    if operation.takes_if_match:
        names.append("ifMatch")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def security(operation: Operation) -> list[dict[str, list[str]]]:
    """The alternatives; the empty one says that none is needed."""
    match operation.audience:
        case "admin" | "ops":
            return [{"staff": []}, {"secretKey": []}]
        case "store":
            return [{"customer": []}] if operation.for_customers else [{}, {"customer": []}]
        case _:
            return [{}, {"metrics": []}] if operation.path == "/metrics" else []


def describe_parameter(parameter: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI parameter of one whose type has this JSON Schema."""
    schema = _without_null(schema)
    description = schema.pop("description", None)
    examples = [getattr(each, "value", each) for each in schema.pop("examples", ())]
    schema |= _extra(parameter.kind)
    _refuse_nul(schema)
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.source,
        "required": parameter.required,
        "schema": schema,
    }
    if description:
        described["description"] = description
    if isinstance(parameter.default, int | str):
        schema["default"] = parameter.default
    example = examples[0] if examples else _example(parameter.name, schema)
    if example is not None:
        described["example"] = example
    return described


def ignored_parameter(name: str, reason: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"Taken and not heeded: {reason}.",
        "schema": {"type": "string", "pattern": NO_NUL},
        "example": _BY_NAME.get(name, "id"),
    }


def _extra(kind: Any) -> dict[str, Any]:
    """The ``schema_extra`` of the parameter's marker, which msgspec carries and does not read."""
    for part in get_args(kind):
        if isinstance(part, msgspec.Meta):
            return (part.extra or {}).get("schema_extra") or {}
        if found := _extra(part):
            return found
    return {}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not there is not null."""
    parts = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
    if len(parts) == 1:
        rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
        return {**parts[0], **rest}
    return dict(schema)


def _refuse_nul(schema: dict[str, Any]) -> None:
    if schema.get("type") == "array":
        _refuse_nul(schema["items"])
    elif schema.get("type") == "string" and not {"pattern", "format", "enum", "anyOf"} & set(
        schema
    ):
        schema["pattern"] = NO_NUL


def _example(name: str, schema: dict[str, Any]) -> Any:
    """None for what only the service can give: a cursor."""
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    named = _BY_NAME.get(name)
    if schema.get("type") == "array":
        return named if isinstance(named, list) else [_example(name, schema["items"])]
    return named or _BY_KIND.get(schema.get("format") or schema.get("type", ""))
