"""The servers' settings, each with its reason."""

from collections.abc import Iterable
from typing import NamedTuple


class Setting(NamedTuple):
    name: str
    value: str | int
    reason: str


HEADER = (
    "# Written anew at every start. Your own settings go into ../../postgres.conf, read last.\n"
)

POSTGRES = (
    Setting("listen_addresses", "127.0.0.1", "nobody else's business"),
    Setting("unix_socket_directories", "", "a path in a deep data dir may be over 107 bytes"),
    Setting("max_connections", 200, "a few workers with a pool of 20 each, tests beside them"),
    Setting("shared_buffers", "128MB", "modest: a laptop runs several of these servers"),
    Setting("password_encryption", "scram-sha-256", "no md5"),
    Setting("timezone", "UTC", "times mean the same on every machine"),
    Setting("log_timezone", "UTC", "log lines of all servers sort together"),
    Setting("lc_messages", "C", "messages can be searched for"),
    # Replication
    Setting("wal_level", "replica", "replicas and backups"),
    Setting("max_wal_senders", 10, "three replicas, backups, pg_receivewal"),
    Setting("max_replication_slots", 10, "one a replica, and those of backups"),
    Setting("max_slot_wal_keep_size", "1GB", "a replica that is gone must not fill the disk"),
    Setting("hot_standby", "on", "replicas answer reads"),
    Setting("hot_standby_feedback", "on", "vacuum on the primary must not cancel a report"),
    Setting("wal_receiver_status_interval", "1s", "the primary's view of the lag is fresh"),
    Setting("wal_retrieve_retry_interval", "500ms", "a replica is back soon after its primary"),
    Setting("wal_compression", "on", "full page images cost less to write and to send"),
    Setting("max_wal_size", "2GB", "no checkpoint amid the import of a large file"),
    Setting("checkpoint_timeout", "15min", "fewer full page images"),
    # Planning and execution
    Setting("jit", "off", "compiling costs more than short statements gain"),
    Setting("random_page_cost", "1.1", "solid state disks"),
    Setting("autovacuum_naptime", "5s", "plans made on empty tables are made anew soon"),
    Setting("idle_in_transaction_session_timeout", "60s", "a lost client must not hold locks"),
    # Seeing what happens
    Setting("shared_preload_libraries", "pg_stat_statements,auto_explain", "statistics, plans"),
    Setting("compute_query_id", "on", "one statement, one number in statistics, plans and logs"),
    Setting("pg_stat_statements.max", 5000, "more than the statements of the application"),
    Setting("track_io_timing", "on", "waiting for the disk is told apart from work"),
    Setting("track_wal_io_timing", "on", "the same for the log"),
    Setting("track_activity_query_size", 4096, "long statements are shown whole"),
    Setting("auto_explain.log_min_duration", "500ms", "the plan of what was really slow"),
    Setting("auto_explain.log_format", "json", "read by programs"),
    Setting("auto_explain.log_analyze", "off", "timing each plan node slows every statement"),
    Setting("auto_explain.sample_rate", 1, "without timing each slow plan is cheap to log"),
    Setting("auto_explain.log_parameter_max_length", 0, "values may be personal"),
    Setting("log_parameter_max_length", 0, "values may be personal"),
    Setting("log_min_duration_statement", "100ms", "the target of a product list"),
    Setting("log_lock_waits", "on", "who waits for whom"),
    Setting("log_temp_files", "10MB", "sorts that did not fit into memory"),
    Setting("log_line_prefix", "%m [%p] %q%u@%d %a ", "time, process, role, database, program"),
)

DURABLE = (
    Setting("fsync", "on", "nothing acknowledged is lost"),
    Setting("synchronous_commit", "on", "nothing acknowledged is lost"),
    Setting("full_page_writes", "on", "no torn page after a power failure"),
)

FAST = (
    Setting("fsync", "off", "tests: survives kill -9, not a power failure"),
    Setting("synchronous_commit", "on", "kill -9 loses nothing"),
    Setting("full_page_writes", "off", "needless without fsync"),
)

REDIS = (
    Setting("bind", "127.0.0.1", "nobody else's business"),
    Setting("daemonize", "no", "we start it in the background ourselves and know its process id"),
    Setting("set-proc-title", "no", "the command line tells whose server this is"),
    Setting("maxmemory", "256mb", "a cache is bounded"),
    Setting("maxmemory-policy", "allkeys-lru", "the least used entry makes room"),
    Setting("appendonly", "yes", "a restart does not start cold"),
    Setting("save", "", "the append-only file is enough"),
)


def postgres_conf(settings: Iterable[Setting]) -> str:
    """PostgreSQL's syntax; the user's own file is read last and so wins."""
    lines = [
        "{} = '{}'  # {}\n".format(s.name, str(s.value).replace("'", "''"), s.reason)
        for s in settings
    ]
    return HEADER + "".join(lines) + "include_if_exists '../../postgres.conf'\n"


def redis_conf(settings: Iterable[Setting]) -> str:
    """Redis's syntax, which knows comments on lines of their own only."""
    quoted = str.maketrans({"\\": "\\\\", '"': '\\"'})
    return "".join(f'# {s.reason}\n{s.name} "{str(s.value).translate(quoted)}"\n' for s in settings)
