"""Real servers on one machine without Docker: PostgreSQL, streaming replicas and Redis."""

from impact.stack._conf import DURABLE, POSTGRES, Setting
from impact.stack._errors import StackError
from impact.stack._postgres import PostgresServer
from impact.stack._redis import RedisServer
from impact.stack._stack import Endpoints, ServerStatus, Stack

SETTINGS = (*POSTGRES, *DURABLE)
"""What every server of a durable stack is started with, beside its port and replication."""

__all__ = [
    "SETTINGS",
    "Endpoints",
    "PostgresServer",
    "RedisServer",
    "ServerStatus",
    "Setting",
    "Stack",
    "StackError",
]
