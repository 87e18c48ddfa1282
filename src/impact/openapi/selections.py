"""What answers look like where ``fields`` chose some: the same things with only ``id`` required."""

import copy
from typing import Any

_PREFIX = "#/components/schemas/"
_ENDING = "Selection"


def add_selections(description: dict[str, Any], selectable: set[str]) -> None:
    """Say of the operations with these ids, which heed ``fields``, that their answers may be
    selections."""
    schemas = description["components"]["schemas"]
    for path in description["paths"].values():
        for operation in path.values():
            if operation["operationId"] not in selectable:
                continue
            content = operation["responses"]["200"]["content"]["application/json"]
            whole = content["schema"]["$ref"].removeprefix(_PREFIX)
            if _select_inside(whole, schemas):
                content["schema"] = {
                    "anyOf": [
                        {"$ref": _PREFIX + whole},
                        {"$ref": _PREFIX + whole + _ENDING},
                    ]
                }


def _select_inside(name: str, schemas: dict[str, Any]) -> bool:
    """Make the answer's selection beside it: its one thing, or list of things, selected."""
    if name + _ENDING in schemas:
        return True
    selected = copy.deepcopy(schemas[name])
    for field in selected["properties"].values():
        holder = field.get("items", field)
        if "$ref" in holder:
            thing = holder["$ref"].removeprefix(_PREFIX)
            schemas[thing + _ENDING] = {
                **copy.deepcopy(schemas[thing]),
                "title": thing + _ENDING,
                "required": ["id"],
            }
            holder["$ref"] = _PREFIX + thing + _ENDING
            selected["title"] = name + _ENDING
            schemas[name + _ENDING] = selected
            return True
    return False
