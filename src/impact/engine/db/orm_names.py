"""Names for what the ORM sends: ``table.orm_select``, ``table.orm_insert`` and so on.

They are made of the statement itself, so that no call site can forget one (P8).
"""

import re
from typing import Any

from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.selectable import Select

from impact.engine.db.statements import comment

_MOST = 2000
_known: dict[str, tuple[str, str]] = {}
_NAME = re.compile(r"[^a-z_]")


def named(text: str, context: Any) -> tuple[str, str]:
    """The name of an ORM's statement, and its text with the name in a comment after it.

    ``context`` is SQLAlchemy's execution context.
    """
    found = _known.get(text)
    if found is None:
        name = _name(context)
        if len(_known) >= _MOST:
            # Lists of values that are written out make ever new texts.
            _known.clear()
        found = _known[text] = (name, f"{text} {comment(name)}")
    return found


def _name(context: Any) -> str:
    compiled = getattr(context, "compiled", None)
    statement = getattr(compiled, "statement", None)
    if isinstance(statement, Insert | Update | Delete):
        table = getattr(statement.table, "name", "query")
        return f"{_plain(table)}.orm_{statement.__visit_name__}"
    if isinstance(statement, Select):
        froms = statement.get_final_froms()
        source: Any = froms[0] if froms else None
        while getattr(source, "left", None) is not None:
            source = source.left
        # An alias is called anon_1; what it stands for has the name.
        source = getattr(source, "element", source)
        return f"{_plain(getattr(source, 'name', 'query'))}.orm_select"
    return "orm.text"


def _plain(name: str) -> str:
    return _NAME.sub("_", name)
