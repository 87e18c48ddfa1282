"""Making the primary and what stands in it: roles, databases, extensions."""

import base64
import hashlib
import hmac
import os
import re

from impact.stack._errors import StackError
from impact.stack._files import whole, write_private
from impact.stack._postgres import PostgresServer
from impact.stack._process import error_in, run
from impact.stack._site import APP, OWNER, REPLICATOR, SUPERUSER
from impact.stack._user import give

DATABASE = "impact"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RESERVED = ("postgres", "template0", "template1")
_BUILTIN_LOCALE = 17  # the first version with the builtin locale provider
_SCRAM_ROUNDS = 4096

_ROLES = {
    OWNER: "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION",
    APP: "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION",
    REPLICATOR: "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE REPLICATION",
}


def initialise(server: PostgresServer) -> None:
    """initdb beside the final place; one that is interrupted leaves nothing that looks whole."""
    site = server.site
    site.log("making the primary's data directory")
    password_file = site.logs / "initdb-password"
    if site.postgres.major >= _BUILTIN_LOCALE:
        # Sorts alike on every machine and after every upgrade of its C library.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C.UTF-8"]
    with whole(server.directory, site.account) as directory:
        write_private(password_file, site.record.passwords[SUPERUSER] + "\n", site.account)
        try:
            result = run(
                [
                    *(site.postgres.bindir / "initdb", "--pgdata", directory, "--encoding=UTF8"),
                    *("--username", SUPERUSER, "--auth=scram-sha-256", "--pwfile", password_file),
                    *("--data-checksums", *locale, *([] if site.durable else ["--no-sync"])),
                ],
                account=site.account,
                cwd=site.home,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if result.returncode:
            raise StackError(f"initdb failed: {error_in(result.stderr)}")
        own = directory / "conf.d"
        own.mkdir(mode=0o700)
        give(own, site.account)
        with (directory / "postgresql.conf").open("a") as file:
            file.write("\ninclude_dir = 'conf.d'\n")
            file.flush()
            os.fsync(file.fileno())


def provision_roles(server: PostgresServer) -> None:
    """Make the roles; run at every start, so that one interrupted start is made good."""
    passwords = server.site.record.passwords
    statements = [
        f"SELECT 'CREATE ROLE {role} PASSWORD ''{_verifier(passwords[role])}'''"
        f" WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec\n"
        f"ALTER ROLE {role} {attributes};"
        for role, attributes in _ROLES.items()
    ]
    # Membership is granted once: a second GRANT is a notice, which psql prints.
    statements.append(f"SET client_min_messages = warning; GRANT pg_monitor TO {APP};")
    server.sql("\n".join(statements))


def provision_database(server: PostgresServer, name: str, *, template: str | None = None) -> None:
    """Make a database of the owner's; an existing one is kept.

    Its only extension is the one that needs a superuser: the owner's migrations make the others.
    Raises StackError when it exists and a template is asked for: that would not be a copy.
    """
    for given in filter(None, (name, template)):
        _check_name(given)
    known = server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "1"
    if known and template:
        raise StackError(f"Database {name} exists; drop it before copying {template} to it")
    if not known:
        server.sql(
            f'CREATE DATABASE "{name}" OWNER {OWNER}'
            + (f' TEMPLATE "{template}"' if template else "")
        )
    server.sql(
        f"""
        SET client_min_messages = warning;
        REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;
        GRANT CONNECT, TEMP ON DATABASE "{name}" TO {APP};
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
        """,
        database=name,
    )


def drop_database(server: PostgresServer, name: str) -> None:
    """Drop a database and end its sessions; no-op when there is none."""
    _check_name(name)
    server.sql(f'SET client_min_messages = warning; DROP DATABASE IF EXISTS "{name}" WITH (FORCE);')


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise StackError(f"{name!r} cannot be a database: use a-z, 0-9 and _, at most 63")


def _verifier(password: str) -> str:
    """What PostgreSQL stores of a password (RFC 5803).

    Sent instead of the password, which would show in pg_stat_statements, readable by pg_monitor.
    """
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{parts[0]}${parts[1]}:{parts[2]}"
