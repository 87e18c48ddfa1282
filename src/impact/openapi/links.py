"""Links: what can be done with the thing that an operation just made."""

from typing import Any

import msgspec

from impact.openapi.operations import Operation


def links_of(operation: Operation, operations: list[Operation]) -> dict[str, Any]:
    """From the operation that makes a thing to every one that takes its id alone."""
    key = _made(operation)
    if key is None:
        return {}
    below = f"{operation.path}/{{id}}"
    return {
        other.id: {
            "operationId": other.id,
            "parameters": {"path.id": f"$response.body#/{key}/id"},
        }
        for other in operations
        if (other.path == below or other.path.startswith(f"{below}/"))
        and other.path.count("{") == 1
    }


def _made(operation: Operation) -> str | None:
    """The field of the answer that holds the thing made, where it has an id."""
    kind = operation.answer
    if operation.method != "POST" or "{" in operation.path or not _is_struct(kind):
        return None
    first = msgspec.structs.fields(kind)[0]
    inner = first.type
    if _is_struct(inner) and any(field.name == "id" for field in msgspec.structs.fields(inner)):
        return first.encode_name
    return None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
