"""Which cached entities a change of a table's rows touches: declared once, beside the models.

The unit of work asks here what to raise, so that no call site has to remember it (P5). A table
that nobody declared touches everything its tenant has cached: slow, and never stale.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from impact.engine.cache import keys


@dataclass(frozen=True, slots=True)
class Effect:
    """A change of a row touches ``entity``: the one whose id stands in the row's attribute
    ``key``, or all where there is none.

    With ``via`` (table, attribute) the row of that table whose id is ``key`` knows the entity's
    id. ``tenant`` names the attribute that holds the tenant.
    """

    entity: str
    key: str | None = None
    via: tuple[str, str] | None = None
    tenant: str = "tenant_id"


Find = Callable[[str, object], Any]
"""The loaded row of a table by its id, or None."""

_effects: dict[str, tuple[Effect, ...]] = {}


def declare(table: str, *effects: Effect) -> None:
    """Say what a change of the table's rows touches; without effects, nothing that is cached."""
    if _effects.get(table, effects) != effects:
        raise ValueError(f"table {table} is declared twice")
    _effects[table] = effects


def declared() -> Mapping[str, tuple[Effect, ...]]:
    """What each declared table touches."""
    return _effects


def tags_of_row(row: Any, table: str, find: Find) -> Iterable[str]:
    """The tags that a written entity raises."""
    effects = _effects.get(table)
    if effects is None:
        return (keys.whole_tenant(row.tenant_id),)
    tags: list[str] = []
    for effect in effects:
        id = None if effect.key is None else getattr(row, effect.key)
        if effect.via is not None and id is not None:
            other = find(effect.via[0], id)
            id = None if other is None else getattr(other, effect.via[1])
        tags += keys.changed(getattr(row, effect.tenant), effect.entity, id)
    return tags


def tags_of_table(table: str, tenant: str, ids: Iterable[object] | None) -> Iterable[str]:
    """The tags that a statement raises by writing rows of a table.

    ``ids`` are of the entities the rows belong to, where the statement tells; None where not.
    """
    effects = _effects.get(table)
    if effects is None:
        return (keys.whole_tenant(tenant),)
    if ids is None:
        return [tag for effect in effects for tag in keys.changed(tenant, effect.entity, None)]
    known = list(ids)
    return [
        tag
        for effect in effects
        for id in (known if effect.key is not None else [None] if known else [])
        for tag in keys.changed(tenant, effect.entity, id)
    ]


def tags_of_record(tenant: str, table: str) -> Iterable[str]:
    """The tags that a change record raises, for the relay that replays them."""
    return tags_of_table(table, tenant, None)
