"""What records may not show is marked at its column; what is not recorded says why."""

import re

from sqlalchemy import LargeBinary

import impact.models
from impact.engine.changes.triggers import NOT_RECORDED, SECRET

_SUSPICIOUS = re.compile(r"password|secret|token|hash|private|credential|_key$")
# Columns that look like secrets and are none, with the reason.
_HARMLESS: dict[str, str] = {
    "admin_user.tokens_after": "the time before which tokens are void",
    "customer.tokens_after": "the time before which tokens are void",
}


def test_columns_that_look_like_secrets_are_marked() -> None:
    open_ones = [
        f"{table.name}.{column.name}"
        for table in impact.models.metadata.tables.values()
        if table.name not in NOT_RECORDED
        for column in table.columns
        if (_SUSPICIOUS.search(column.name) or isinstance(column.type, LargeBinary))
        and column.info != SECRET
    ]
    assert sorted(open_ones) == sorted(_HARMLESS)


def test_what_is_not_recorded_exists() -> None:
    assert set(NOT_RECORDED) <= set(impact.models.metadata.tables)
