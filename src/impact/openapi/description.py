"""The OpenAPI description: built once, at the first request for it.

Schemas are msgspec's own, of the very types that requests are decoded into and answers are made
of, so that the two cannot part.
"""

import inspect
from types import NoneType
from typing import Any, get_args

import msgspec
from litestar import Litestar

import impact
from impact.engine.http.problems import PROBLEM_JSON, ProblemDetails
from impact.engine.schemas import JSON_VALUE, JSON_VALUE_SCHEMA
from impact.openapi.examples import EXAMPLES
from impact.openapi.links import links_of
from impact.openapi.operations import Operation, operations_of
from impact.openapi.parameters import (
    HEADER_PARAMETERS,
    SECURITY_SCHEMES,
    describe_parameter,
    header_references,
    ignored_parameter,
    security,
)
from impact.openapi.responses import ANSWER_HEADERS, ANSWERS, HEADERS
from impact.openapi.selections import add_selections

_SCHEMAS = "#/components/schemas/{name}"
_ABOUT = (
    "The API of Impact, a multi-tenant e-commerce platform. Every error is an RFC 9457 problem"
    " that says what is wrong and where. Query parameters and fields that an operation does not"
    " know are refused."
)


def describe(app: Litestar) -> dict[str, Any]:
    """The whole description as JSON types."""
    operations = list(operations_of(app))
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, schemas, operations)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    description = {
        "openapi": "3.1.0",
        "info": {"title": "Impact", "version": impact.__version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in _tags(operations)],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, JSON_VALUE: JSON_VALUE_SCHEMA},
            "parameters": HEADER_PARAMETERS,
            "headers": _headers(),
            "responses": _responses(schemas.of(ProblemDetails)),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
    add_selections(description, {each.id for each in operations if "fields" in each.contract.query})
    return description


class _Schemas:
    """The JSON Schema of every type that an operation names."""

    def __init__(self, operations: list[Operation]) -> None:
        kinds: list[Any] = [ProblemDetails]
        for operation in operations:
            kinds += [each.kind for each in operation.contract.parameters]
            kinds += [
                kind for kind in (operation.contract.body, operation.answer) if kind is not None
            ]
        self._kinds = kinds
        self._schemas, self.components = msgspec.json.schema_components(
            kinds, ref_template=_SCHEMAS
        )

    def of(self, kind: Any) -> dict[str, Any]:
        place = next(n for n, known in enumerate(self._kinds) if known is kind)
        return dict(self._schemas[place])


def _operation(
    operation: Operation, schemas: _Schemas, operations: list[Operation]
) -> dict[str, Any]:
    contract, handler = operation.contract, operation.handler
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": handler.resolve_tags(),
        "summary": handler.handler_name.replace("_", " ").capitalize(),
        "security": security(operation),
        "parameters": [
            *(describe_parameter(each, schemas.of(each.kind)) for each in contract.parameters),
            *(ignored_parameter(name, why) for name, why in contract.ignored.items()),
            *header_references(operation),
        ],
        "responses": {
            **(
                {str(handler.status_code): _success(operation, schemas, operations)}
                if operation.media_types
                else {}
            ),
            **{
                str(answer.status): {"$ref": f"#/components/responses/{answer.status}"}
                for answer in ANSWERS
                if answer.applies(operation)
            },
        },
    }
    if text := inspect.cleandoc(inspect.unwrap(handler.fn).__doc__ or ""):
        described["description"] = text.replace("``", "`")
    if contract.body is not None:
        example = _example_of(contract.body)
        content = {"schema": schemas.of(contract.body)}
        described["requestBody"] = {
            "required": contract.body_required,
            "content": {"application/json": content | ({"example": example} if example else {})},
        }
    return described


def _example_of(body: Any) -> Any:
    """The example of the body's type, or of the one type in an optional body's."""
    kinds = [kind for kind in get_args(body) or (body,) if kind is not NoneType]
    return EXAMPLES.get(kinds[0])


def _success(
    operation: Operation, schemas: _Schemas, operations: list[Operation]
) -> dict[str, Any]:
    schema = {} if operation.answer is None else schemas.of(operation.answer)
    described: dict[str, Any] = {
        "description": "Done." if operation.method != "GET" else "Found.",
        "headers": {
            header.name: {"$ref": f"#/components/headers/{header.name}"}
            for header in HEADERS
            if header.applies(operation)
        },
        "content": {kind: {"schema": _schema_of(kind, schema)} for kind in operation.media_types},
    }
    if links := links_of(operation, operations):
        described["links"] = links
    return described


def _schema_of(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    if media_type == "application/json":
        return schema
    binary = media_type.endswith("parquet")
    return {"type": "string", "format": "binary"} if binary else {"type": "string"}


def _headers() -> dict[str, Any]:
    return {
        header.name: {
            "description": header.description,
            "required": header.required,
            "schema": {"type": "string"},
        }
        for header in HEADERS
    }


def _responses(problem: dict[str, Any]) -> dict[str, Any]:
    request_id = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    return {
        str(answer.status): {
            "description": answer.when,
            "headers": request_id | {name: ANSWER_HEADERS[name] for name in answer.headers},
            **({"content": {PROBLEM_JSON: {"schema": problem}}} if answer.status >= 400 else {}),
        }
        for answer in ANSWERS
    }


def _tags(operations: list[Operation]) -> list[str]:
    return sorted({tag for each in operations for tag in each.handler.resolve_tags()})
