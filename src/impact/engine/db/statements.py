"""Named statements: SQL written once, checked at import, run on the driver without the ORM.

A statement is written with ``:name`` parameters. Its name is its one name everywhere: in code,
in the SQL comment (so also in ``pg_stat_statements``, the slow log and ``auto_explain``), and
in the figures (P8).
"""

import re
from collections.abc import Mapping
from typing import Any

ALL = "*"
"""In ``writes``: the statement does not tell which rows it touches."""
_PARAMETER = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|(?<![:\w]):([a-z_][a-z0-9_]*)""", re.DOTALL
)
"""A parameter; constants, quoted names and comments are matched first, so that a colon inside
them stays."""
_NAME = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")

_TARGET = re.compile(
    r"\b(?:INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|(?<!FOR\s)(?<!FOR NO KEY\s)(?<!DO\s)UPDATE)"
    r'\s+(?:ONLY\s+)?"?(?!SET\b|OF\b)([a-z_]+)',
    re.IGNORECASE,
)
"""A table that a statement writes to."""

registry: dict[str, list["Statement"]] = {}
"""Every statement of the process by name; variants of one statement share theirs."""


def comment(name: str) -> str:
    """The name in sqlcommenter's form; constant for each statement, so that it stays prepared."""
    return f"/*db_operation='{name}'*/"


def named(name: str, sql: str) -> str:
    """SQL with its name, for what runs on a connection of its own and not in a session."""
    return f"{sql.strip()} {comment(name)}"


class Statement:
    """One SQL statement with its name and the order of its parameters.

    ``:tenant_id`` is bound by the session and must occur, so that no statement can forget whose
    rows it touches; ``tenantless`` is the explicit mark of the few that touch none.

    ``writes`` maps each table it writes to where the ids of the touched entities stand, as
    ``impact.engine.cache.invalidation`` declares them for the table: ``:name`` for a parameter,
    ``name`` for a column of the rows it returns, ``ALL`` where it does not tell.
    """

    __slots__ = ("declared", "name", "parameters", "sql", "writes")

    def __init__(
        self,
        name: str,
        sql: str,
        *,
        tenantless: bool = False,
        writes: Mapping[str, str] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not of the form domain.operation")
        order: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0]
            return f"${order.setdefault(match[1], len(order) + 1)}"

        body = _PARAMETER.sub(number, sql.strip())
        if not tenantless and "tenant_id" not in order:
            raise ValueError(f"statement {name} does not filter on :tenant_id")
        self.name = name
        # At the end, as sqlcommenter has it: PostgreSQL's statistics cut off what stands before.
        self.sql = named(name, body)
        self.parameters = tuple(order)
        self.declared = writes is not None
        self.writes = dict.fromkeys(_TARGET.findall(body), ALL) | dict(writes or {})
        unknown = [w for w in self.writes.values() if w[0] == ":" and w[1:] not in order]
        if unknown:
            raise ValueError(f"statement {name} has no parameter {', '.join(unknown)}")
        registry.setdefault(name, []).append(self)

    def bind(self, tenant: str, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the placeholders.

        Raises TypeError for a parameter that is missing or unknown, as a function call would.
        """
        if "tenant_id" in values:
            raise TypeError("tenant_id is bound by the session")
        try:
            arguments = [
                tenant if name == "tenant_id" else values[name] for name in self.parameters
            ]
        except KeyError as error:
            raise TypeError(f"statement {self.name} needs {error}") from None
        if len(values) + ("tenant_id" in self.parameters) > len(self.parameters):
            unknown = sorted(set(values) - set(self.parameters))
            raise TypeError(f"statement {self.name} does not take {', '.join(unknown)}")
        return arguments

    def __repr__(self) -> str:
        return f"<Statement {self.name}>"
