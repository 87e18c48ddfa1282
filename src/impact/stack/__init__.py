"""Real servers on one machine without Docker: PostgreSQL, streaming replicas and Redis."""

from impact.stack._errors import StackError
from impact.stack._postgres import PostgresServer
from impact.stack._redis import RedisServer
from impact.stack._stack import Endpoints, ServerStatus, Stack

__all__ = ["Endpoints", "PostgresServer", "RedisServer", "ServerStatus", "Stack", "StackError"]
