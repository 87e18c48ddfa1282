"""Making, keeping and removing streaming replicas.

A replica holds nothing of its own: whatever is wrong with one, it is made again from the primary.
"""

import secrets

from impact.stack._errors import StackError
from impact.stack._files import discard, whole
from impact.stack._postgres import PostgresServer
from impact.stack._process import error_in, run, wait_for
from impact.stack._site import REPLICATOR
from impact.stack._user import give

_STREAM_SECONDS = 60


def ensure(primary: PostgresServer, replica: PostgresServer) -> None:
    """Make the replica stream: follow the primary's port, start it, or make it anew."""
    reason = _unusable(primary, replica)
    if reason is None and replica.is_running():
        if replica.write_conf():
            replica.reload()
    elif reason is None:
        try:
            replica.start()
        except StackError as error:
            reason = str(error)
    if reason is None:
        reason = _stream(primary, replica)
    if reason is not None:
        replica.site.log(f"making {replica.name}: {reason}")
        _make(primary, replica)
        replica.start()
        reason = _stream(primary, replica)
        if reason is not None:
            raise StackError(f"{replica.name} does not stream: {reason}")


def remove(primary: PostgresServer, replica: PostgresServer) -> None:
    """Stop it, forget its slot, which would keep the primary's log, and delete its data."""
    replica.stop("immediate")
    _drop_slot(primary, replica)
    discard(replica.directory)


def _unusable(primary: PostgresServer, replica: PostgresServer) -> str | None:
    """Why the replica's data cannot go on; None when it can."""
    if not replica.exists:
        return "it has no data yet"
    if not (replica.directory / "standby.signal").exists():
        return _set_aside(replica)
    if _slot_status(primary, replica) in ("", "lost"):
        return "the primary no longer keeps the log it needs"
    return None


def _set_aside(replica: PostgresServer) -> str:
    """A promoted replica may have taken writes: its data is kept under another name."""
    replica.stop()
    kept = replica.directory.with_name(f"{replica.name}-promoted-{secrets.token_hex(4)}")
    replica.directory.rename(kept)
    return f"it was promoted; its data is kept in {kept}"


def _stream(primary: PostgresServer, replica: PostgresServer) -> str | None:
    """Wait until the replica streams; why it does not, else None."""
    lost = False

    def settled() -> bool:
        nonlocal lost
        lost = _slot_status(primary, replica) in ("", "lost") or not replica.is_running()
        return lost or _is_streaming(primary, replica)

    if not wait_for(settled, _STREAM_SECONDS):
        return f"it did not stream within {_STREAM_SECONDS} s (see {replica.log_file})"
    return f"the primary no longer keeps its log (see {replica.log_file})" if lost else None


def _is_streaming(primary: PostgresServer, replica: PostgresServer) -> bool:
    """As the primary sees it: a replica of another cluster would be refused there."""
    return "streaming" in primary.sql(
        f"SELECT state FROM pg_stat_replication WHERE application_name = '{replica.slot}'"
    )


def _slot_status(primary: PostgresServer, replica: PostgresServer) -> str:
    """The slot's wal_status; empty when there is no slot."""
    return primary.sql(
        f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{replica.slot}'"
    )


def _make(primary: PostgresServer, replica: PostgresServer) -> None:
    """A base backup beside the final place, with a fresh slot from its start on."""
    site = replica.site
    replica.stop("immediate")
    _drop_slot(primary, replica)
    discard(replica.directory)
    primary.sql(f"SELECT pg_create_physical_replication_slot('{replica.slot}', true)")
    with whole(replica.directory, site.account) as directory:
        result = run(
            [
                *(site.postgres.bindir / "pg_basebackup", "--pgdata", directory, "--no-password"),
                *("--checkpoint=fast", "--wal-method=stream", "--slot", replica.slot),
                *("--host=127.0.0.1", f"--port={primary.port}", f"--username={REPLICATOR}"),
                *([] if site.durable else ["--no-sync"]),
            ],
            account=site.account,
            cwd=site.home,
            env={"PGPASSWORD": site.record.passwords[REPLICATOR]},
        )
        if result.returncode:
            raise StackError(f"The copy for {replica.name} failed: {error_in(result.stderr)}")
        # What --write-recovery-conf does, but the address belongs into the generated settings,
        # where it can follow the primary's port; postgresql.auto.conf would win over them.
        signal_file = directory / "standby.signal"
        signal_file.touch(mode=0o600)
        give(signal_file, site.account)


def _drop_slot(primary: PostgresServer, replica: PostgresServer) -> None:
    """Drop the slot; an interrupted pg_basebackup may still hold it and is ended first."""
    where = f"FROM pg_replication_slots WHERE slot_name = '{replica.slot}'"

    def free() -> bool:
        primary.sql(f"SELECT pg_terminate_backend(active_pid) {where} AND active")
        return primary.sql(f"SELECT 1 {where} AND active") == ""

    wait_for(free, _STREAM_SECONDS)
    primary.sql(f"SELECT pg_drop_replication_slot(slot_name) {where}")
