"""The connection to Redis: single, behind Sentinel or a cluster, with TLS; never waited for long.

    redis://:password@host:6379/0                    rediss:// for TLS
    redis+sentinel://:password@host:26379,host2:26379/service/0
    redis+cluster://:password@host:6379              rediss+cluster:// for TLS

An authority of one's own is named in the query, ``?ssl_ca_certs=/etc/ssl/ours.pem``.

A call that takes longer than a few milliseconds is given up. After three in a row the circuit
opens: no request asks any more, until one of the heartbeats, for which nobody waits, was answered
as fast as a request would need it. Redis away or slow costs requests next to nothing (P7). A busy
process, which finds an answer late that came in time, does not hold that against Redis.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import redis.asyncio as redis
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from impact.errors import ConfigurationError
from impact.settings import Settings, variable

logger = logging.getLogger(__name__)

T = TypeVar("T")

FAILURES = (RedisError, OSError, TimeoutError, RuntimeError)
"""uvloop raises RuntimeError where a connection was lost just before it is written to."""
_MOST_FAILURES = 3
_CONNECTIONS = 32
_LOOKS = 20
"""How often a process looks for an answer before it gives up; opening a connection takes some."""
_PATIENCE = 1.0
"""Seconds for what no request waits for: connecting the subscription, a command's work."""


class RedisAwayError(Exception):
    """Redis did not answer in time, or is not asked at the moment."""


class Remote:
    """Redis for one process. ``incarnation`` names the server's run, and is part of every key:
    one that restarts from an old file, or a replica that takes over without the last writes,
    begins with an empty cache instead of with entries whose end it never heard of.
    """

    def __init__(self, settings: Settings) -> None:
        self.service = settings.cache_service
        self.incarnation: str | None = None
        self._timeout = settings.redis_timeout
        self._failures = 0
        self._open = False
        self._closed = False
        self._runs: frozenset[str] = frozenset()
        self.client, self.is_cluster = _connect(settings.redis_url or "", self._greet)
        pool = getattr(self.client, "connection_pool", None)
        manager = getattr(pool, "sentinel_manager", None)
        self._watchers = manager.sentinels if manager else []
        self._scripts: dict[str, Any] = {}

    @property
    def available(self) -> bool:
        """Whether asking is worth a try."""
        return self.incarnation is not None and not self._open

    async def call(
        self,
        work: Callable[[], Awaitable[T]],
        *,
        patient: bool = False,
        patience: float = _PATIENCE,
    ) -> T:
        """Do something with the client. Raises RedisAwayError where it fails or takes too long.

        ``patient`` work has ``patience`` seconds, one at most, is done while the circuit is open
        as well, and closes it.
        """
        if self._closed or not (patient or self.available):
            raise RedisAwayError
        limit = _Limit(self._timeout, patience if patient else self._timeout)
        try:
            async with limit:
                answer = await work()
        except Exception as error:
            # redis-py has failures of its own where a node goes while others open connections to
            # it: an AttributeError, a LookupError. Redis away costs a request nothing (P7).
            if not isinstance(error, FAILURES):
                logger.warning("Redis's client failed", exc_info=error)
            self._fail()
            raise RedisAwayError(repr(error)) from error
        if limit.passed:
            self._fail()
        else:
            self._failures = 0
            self._open = self._open and not patient
        return answer

    def _fail(self) -> None:
        self._failures += 1
        self._open = self._open or self._failures >= _MOST_FAILURES

    async def script(
        self,
        text: str,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        patient: bool = False,
        patience: float = _PATIENCE,
    ) -> Any:
        """Run a Lua script. Raises RedisAwayError."""
        script = self._scripts.get(text)
        if script is None:
            script = self._scripts[text] = self.client.register_script(text)
        return await self.call(
            lambda: script(keys=keys, args=args), patient=patient, patience=patience
        )

    async def identify(self) -> str:
        """Ask which run of the server this is. Raises RedisAwayError."""
        self.forget()
        self._runs = await self.call(self._ask_runs, patient=True)
        text = "".join(sorted(self._runs))
        self.incarnation = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.incarnation

    async def require_same_runs(self) -> None:
        """Raises RedisAwayError when a server of a cluster was started anew or replaced.

        A cluster's client does not show us its new connections, so they are not greeted.
        """
        if self.is_cluster and await self.call(self._ask_runs, patient=True) != self._runs:
            self.forget()
            raise RedisAwayError("a node of the cluster was started anew")

    async def _ask_runs(self) -> frozenset[str]:
        if not self.is_cluster:
            return frozenset([(await self.client.info("server"))["run_id"]])
        primaries = redis.RedisCluster.PRIMARIES
        answers = await self.client.info("server", target_nodes=primaries)
        return frozenset(answer["run_id"] for answer in _each(answers))

    def forget(self) -> None:
        """Which run of the server answers next is not known before it was asked."""
        self.incarnation, self._runs = None, frozenset()

    async def _greet(self, connection: Any) -> None:
        """Open a connection only to the run of the server that our keys are named after.

        A server that restarts answers again before the subscription has noticed: a version raised
        under the old name would be raised where nobody looks, and the writer told that it was.
        """
        try:
            await connection.on_connect()
            if self._runs:
                await connection.send_command("INFO", "server")
                answer = await connection.read_response()
                text = answer.decode() if isinstance(answer, bytes) else answer
                run = re.search(r"run_id:(\w+)", text)
                if run is None or run[1] not in self._runs:
                    self.forget()
                    raise redis.ConnectionError("Redis was started anew")
        except BaseException:
            # Given up half way, it would go back to its pool as if it had been greeted.
            await connection.disconnect(nowait=True)
            raise

    async def close(self) -> None:
        """What still asks afterwards, say a task that is being ended, opens nothing any more."""
        self._closed = True
        await self.client.aclose()
        for watcher in self._watchers:
            await watcher.aclose()


class _Limit:
    """A time limit of ``most`` seconds, raised as TimeoutError, that passes by looks: a twentieth
    of what is not slow each, and at most one in a turn of the event loop, however long that takes.

    A turn that takes as long as the limit, where many requests are served at once, would
    otherwise end every call whose answer has long come. In a process that waits for its answer
    the looks are as exact as a clock. In no process a call has more than ``_PATIENCE`` seconds.
    """

    def __init__(self, seconds: float, most: float) -> None:
        self._looks = 0
        self._every = seconds / _LOOKS
        self._most = round(most / self._every)
        self._timeout = asyncio.timeout(max(seconds, _PATIENCE))
        self._loop = asyncio.get_running_loop()

    @property
    def passed(self) -> bool:
        """Whether it was slow: took more than ``seconds``."""
        return self._looks >= _LOOKS

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._next = self._loop.call_later(self._every, self._look)

    def _look(self) -> None:
        self._looks += 1
        if self._looks < self._most:
            self._next = self._loop.call_later(self._every, self._look)
        elif not self._timeout.expired():
            self._timeout.reschedule(self._loop.time())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._next.cancel()
        await self._timeout.__aexit__(kind, error, traceback)


def _each(answers: Any) -> list[dict[str, Any]]:
    """A cluster answers by node, unless it has one node."""
    return [answers] if "run_id" in answers else list(answers.values())


def _connect(url: str, greet: Callable[[Any], Awaitable[None]]) -> tuple[Any, bool]:
    """A client that has connected to nothing yet, and whether it is a cluster's.

    ``greet`` is called with each new connection. A cluster's client keeps that call to itself.
    """
    parts = urlsplit(url)
    once: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _PATIENCE,
    }
    plain, _, kind = parts.scheme.partition("+")
    tls: dict[str, Any] = {}
    if plain == "rediss":
        tls = {"ssl": True, **{k: v for k, v in parse_qsl(parts.query) if k.startswith("ssl_")}}
    hosts = [
        (host.rpartition(":")[0] or host, int(host.rpartition(":")[2] if ":" in host else 0))
        for host in parts.netloc.rpartition("@")[2].split(",")
    ]
    who: dict[str, Any] = {
        name: value
        for name, value in (("username", parts.username), ("password", parts.password))
        if value
    }
    if plain not in {"redis", "rediss", "unix"} or kind not in {"", "sentinel", "cluster"}:
        raise ConfigurationError(f"{variable('redis_url')} is not a Redis URL")
    if kind == "sentinel":
        service, _, database = parts.path.strip("/").partition("/")
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            [(host, port or 26379) for host, port in hosts], sentinel_kwargs={**tls}, **once
        )
        master = sentinel.master_for(
            service or "mymaster",
            db=int(database or 0),
            max_connections=_CONNECTIONS,
            redis_connect_func=greet,
            **who,
            **tls,
        )
        return master, False
    if kind == "cluster":
        nodes = [redis.cluster.ClusterNode(host, port or 6379) for host, port in hosts]
        cluster = redis.RedisCluster(
            startup_nodes=nodes, max_connections=_CONNECTIONS, **who, **tls, **once
        )
        return cluster, True
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, redis_connect_func=greet, **once
    )
    return redis.Redis.from_pool(pool), False
