"""Settings: one frozen struct, read from ``IMPACT_*`` variables and nowhere else.

The variable of a field is ``IMPACT_`` and its name in capitals. Secrets have no default (P10).
``docs/configuration.md`` lists every field; a test compares the two.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from impact.errors import ConfigurationError

PREFIX = "IMPACT_"

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of Impact needs to know. Times are in seconds unless the name says else."""

    # Where the servers are.
    primary_url: Annotated[str, Meta(pattern=r"^postgres(ql)?://")]
    """Application role on the primary. Never a superuser, never the owner."""
    replica_urls: tuple[str, ...] = ()
    """Application role on each streaming replica, comma-separated."""
    owner_url: str | None = None
    """Role that owns the schema; read by migrations alone, the server does not need it."""
    redis_url: str | None = None

    # The cache.
    cache_service: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*$")] = "impact"
    """The first part of every key: installations that share a Redis each have their own."""
    cache_memory: Annotated[int, Meta(ge=65_536)] = 33_554_432
    """Bytes of L1 per process."""
    rbac_cache_ttl: Seconds = 600.0
    """In L1; in Redis it is ``rbac_cache_shared_ttl``."""
    rbac_cache_shared_ttl: Seconds = 3600.0
    tenant_cache_ttl: Seconds = 3600.0
    catalog_cache_ttl: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    """0 keeps none of it."""
    cart_cache_ttl: Seconds = 30.0
    report_cache_ttl: Seconds = 300.0
    cache_negative_ttl: Seconds = 30.0
    cache_stale: Annotated[float, Meta(ge=0)] = 300.0
    """How long past its time an unchanged entry may stand in for a database that is away."""
    cache_lonely_ttl: Seconds = 1.0
    """Life of an L1 entry while Redis is away."""
    cache_lock_wait: Annotated[float, Meta(ge=0)] = 1.0
    """How long a process waits for another one's load of the same key."""
    cache_compress_above: Annotated[int, Meta(ge=0)] = 2048
    """Bytes above which an entry is gzipped in Redis."""
    cache_heartbeat: Seconds = 0.2
    cache_silence: Seconds = 0.8
    """After this long without a heartbeat heard, L1 is not trusted."""
    redis_timeout: Seconds = 0.02

    # Change records and the audit log.
    relay: Annotated[str, Meta(pattern=r"^(on|off)$(?!\n)")] = "on"
    """Whether the server may relay change records; ``off`` leaves it to ``impact relay``."""
    relay_batch: Annotated[int, Meta(ge=10, le=1000)] = 1000
    """The most records of one tenant in one transaction."""
    relay_interval: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """How long the relay waits for more once it has moved what there was."""
    audit_url: str | None = None
    """Application role on a database of the audit log's own; without it the log is beside the
    records."""

    # Secrets.
    signing_keys: Annotated[str, Meta(pattern=r"^[\w-]+:[^\s,]{32,}(,[\w-]+:[^\s,]{32,})*$(?!\n)")]
    """``kid:secret`` pairs; the first signs, all verify, so that a key can be rotated."""

    # The HTTP server.
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 9000
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    body_limit: Annotated[int, Meta(ge=1024)] = 1_048_576
    """Bytes; a longer request body is refused with 413."""
    body_timeout: Seconds = 10.0
    """A client that takes longer to send its request's body is cut off with 408."""
    cdn_max_age: Annotated[int, Meta(ge=0, le=86_400)] = 0
    """For how many seconds a CDN may answer catalog reads of the store without asking. 0 lets it
    keep them and ask each time; more is for one that is told to purge by surrogate key."""
    data_dir: Path = Path(".impact")
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose ``x-forwarded-for`` says who the client is."""

    # Rate limits and overload.
    rate_limiting: Annotated[str, Meta(pattern=r"^(on|off)$(?!\n)")] = "on"
    rate_limits: tuple[str, ...] = ()
    """Instead of the policies' own: ``tenant-read=1000/60,paris:caller-write=50``."""
    drain_delay: Annotated[float, Meta(ge=0, le=60)] = 3.0
    """From SIGTERM on, how long it goes on serving while ``/health/ready`` says 503."""
    requests_max: Annotated[int, Meta(ge=1)] = 2000
    """Requests at once, per process; one more is answered 503 before any work."""

    # Connection pools, per process and node.
    pool_max: Annotated[int, Meta(ge=0)] = 20
    """0 derives it: cores * 2 + spindles."""
    pool_min: Annotated[int, Meta(ge=0)] = 5
    pool_idle_timeout: Seconds = 30.0
    pool_connect_timeout: Seconds = 2.0
    pool_wait_timeout: Seconds = 5.0
    pool_queue: Annotated[int, Meta(ge=1)] = 1000
    """Requests that may wait for one."""
    pool_reserve: Annotated[int, Meta(ge=0)] = 2
    """Of the primary's, for placing orders alone; at most a quarter."""
    pool_spindles: Annotated[int, Meta(ge=0)] = 1
    statement_timeout: Seconds = 5.0
    report_timeout: Seconds = 30.0

    # Exports.
    export_limit: Annotated[int, Meta(ge=1)] = 4
    """Exports that one process streams at once; each has a connection until it ends."""
    export_stall: Annotated[float, Meta(gt=0, le=50)] = 10.0
    """How long an export waits for a client that takes nothing. PostgreSQL ends a transaction
    that is idle for a minute."""
    export_timeout: Seconds = 900.0
    """The longest that an export may take: its snapshot keeps vacuum from cleaning up."""

    # Replicas and consistency.
    replica_poll_interval: Seconds = 0.1
    replica_max_lag: Seconds = 10.0
    """A replica further behind serves nobody until it has caught up."""
    causal_wait: Annotated[float, Meta(ge=0)] = 0.05
    """How long a read waits for a replica to replay its token before it takes the primary."""

    # The audit log.
    audit_partition: Literal["day", "month"] = "month"
    """How much time a partition of the log holds; a change applies after what is prepared."""
    event_batch: Annotated[int, Meta(ge=10, le=100)] = 100
    """Events written at once."""
    event_delay: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """The longest that an event waits to be written."""
    event_buffer: Annotated[int, Meta(ge=100)] = 10_000
    """Events in memory, per process; from half of it on they are written to disk."""
    spool_dir: Path | None = None
    """Where events wait while the database is away; without it ``data_dir``/spool."""

    # Identity.
    token_ttl: Annotated[int, Meta(ge=60)] = 3600
    token_renewal: Annotated[int, Meta(ge=0)] = 604_800
    """For how many seconds after the password was given a token may be renewed."""
    password_memory_kib: Annotated[int, Meta(ge=8)] = 19_456
    password_time_cost: Annotated[int, Meta(ge=1)] = 2

    # Seeing what happens.
    telemetry: bool = True
    """Off, nothing is measured: for finding out what measuring costs."""
    run_dir: Path | None = None
    """Where the worker processes of one server leave their figures for each other. The server
    makes a directory below it for each run, and tells its workers of that."""
    metrics_token: Annotated[str, Meta(min_length=16)] | None = None
    """Who shows it may read ``/metrics``; without one only this machine may."""
    slow_query: Seconds = 0.1
    """A statement that takes longer is logged."""
    slow_query_alert: Seconds = 0.5
    """One that takes longer still is raised to whoever subscribed to slow statements."""
    slow_request: Seconds = 0.5
    """The trace of a request that takes longer is kept although it was not sampled."""
    alert_thresholds: tuple[Annotated[str, Meta(pattern=r"^[a-z-]+=[0-9.]+$")], ...] = ()
    """Instead of the rules' own: ``cache-hit-rate=0.7,pool-use=0.9``."""
    alert_webhook: Annotated[str, Meta(pattern=r"^https?://")] | None = None
    """Where alerts are sent to; needs ``alert_secret``."""
    alert_secret: Annotated[str, Meta(min_length=16)] | None = None
    """Signs what is sent to the webhook."""
    log_format: Annotated[str, Meta(pattern=r"^(text|json)$(?!\n)")] = "text"

    # Behaviour.
    idempotency_ttl: Annotated[int, Meta(ge=60)] = 86_400
    count_limit: Annotated[int, Meta(ge=1)] = 100_000
    """Lists count their rows exactly up to here, then answer this number: work stays bounded.
    A count above 10,000 may be ten seconds old."""
    log_level: Annotated[str, Meta(pattern=r"^(debug|info|warning|error)$(?!\n)")] = "info"

    @property
    def pool_size(self) -> int:
        """Most connections per process and node.

        0 derives the size from ``cores * 2 + spindles``, the starting point of the PostgreSQL
        wiki's "Number Of Database Connections".
        """
        return self.pool_max or (os.cpu_count() or 1) * 2 + self.pool_spindles

    @property
    def pool_reserved(self) -> int:
        return min(self.pool_reserve, self.pool_size // 4)

    @property
    def spool(self) -> Path:
        return self.spool_dir or self.data_dir / "spool"

    @property
    def keys(self) -> dict[str, str]:
        """The signing secrets by key id, the one that signs first."""
        return dict(pair.split(":", 1) for pair in self.signing_keys.split(","))


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def environment(settings: Settings) -> dict[str, str]:
    """The variables that ``load`` reads these settings from."""
    found = {}
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if isinstance(value, tuple):
            value = ",".join(value)
        if value is not None:
            found[variable(field.name)] = str(value)
    return found


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings; ``overrides`` that are not None win over the environment.

    Raises ConfigurationError that lists every problem at once, by variable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(Settings):
        raw: Any = overrides.get(field.name)
        if raw is None:
            raw = environ.get(variable(field.name))
        if raw is None or raw == "":
            if field.required:
                problems.append(f"{variable(field.name)} is not set")
            continue
        if isinstance(raw, str) and get_origin(field.type) is tuple:
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        try:
            values[field.name] = msgspec.convert(raw, field.type, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            problems.append(f"{variable(field.name)}: {error}")
    if not problems and values.get("pool_min", 5) > (values.get("pool_max", 20) or 1 << 30):
        problems.append("IMPACT_POOL_MIN is larger than IMPACT_POOL_MAX")
    keys = values.get("signing_keys", "").split(",")
    if len({key.partition(":")[0] for key in keys}) < len(keys):
        problems.append("IMPACT_SIGNING_KEYS names two keys alike")
    for name in ("primary_url", "replica_urls", "owner_url", "audit_url"):
        urls = values.get(name) or ()
        if not all(map(_is_postgres, (urls,) if isinstance(urls, str) else urls)):
            # Not the URL itself: it holds a password.
            problems.append(f"{variable(name)}: not postgresql://role:password@host:port/database")
    if values.get("alert_webhook") and not values.get("alert_secret"):
        problems.append("IMPACT_ALERT_WEBHOOK needs IMPACT_ALERT_SECRET, which signs the alerts")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return Settings(**values)


def _is_postgres(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"postgres", "postgresql"} and parts.port != 0
    except ValueError:
        return False


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)
