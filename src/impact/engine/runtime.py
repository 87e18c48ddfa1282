"""What one process holds open: made once by the composition root, handed to every handler."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from impact.engine.db.cursor import CursorCodec
from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.roles import refuse_unsafe_role
from impact.engine.db.session import Database
from impact.engine.security.passwords import Passwords
from impact.engine.security.tokens import Tokens
from impact.settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    database: Database
    tokens: Tokens
    passwords: Passwords
    cursors: CursorCodec


@contextlib.asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open the pools and the monitor; close them when the block ends.

    Raises ConfigurationError where the database's role could read past row-level security.
    """
    nodes = NodeSet(settings)
    passwords = Passwords(settings)
    try:
        async with Monitor(nodes):
            database = Database(nodes)
            await refuse_unsafe_role(nodes)
            yield Runtime(
                settings=settings,
                database=database,
                tokens=Tokens(settings),
                passwords=passwords,
                cursors=CursorCodec(*(pair.encode() for pair in settings.signing_keys.split(","))),
            )
    finally:
        passwords.close()
        await nodes.close()
