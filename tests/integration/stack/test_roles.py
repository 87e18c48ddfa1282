"""The roles own no more than they need, and databases come with what the engine uses."""

import asyncpg
import pytest

from impact.stack import StackError

pytestmark = pytest.mark.xdist_group("stack")


async def test_application_role_has_no_powers(running):
    connection = await asyncpg.connect(running.up().primary_url)
    role = await connection.fetchrow(
        "SELECT current_user AS name, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole,"
        " rolreplication FROM pg_roles WHERE rolname = current_user"
    )
    assert tuple(role) == ("impact_app", False, False, False, False, False)
    assert await connection.fetchval("SELECT pg_has_role('pg_monitor', 'member')")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE public.mine (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE SCHEMA mine")
    await connection.execute("CREATE TEMP TABLE passing (id int)")
    await connection.close()


async def test_owner_owns_its_database_alone(running):
    connection = await asyncpg.connect(running.up().owner_url)
    row = await connection.fetchrow(
        "SELECT rolsuper, rolcreatedb, rolbypassrls, pg_get_userbyid(datdba) FROM pg_roles,"
        " pg_database WHERE rolname = current_user AND datname = current_database()"
    )
    assert tuple(row) == (False, False, False, "impact_owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE DATABASE other")
    await connection.close()


async def test_databases_are_made_copied_and_dropped(running):
    source = running.create_database("source")
    assert running.create_database("source") == source
    connection = await asyncpg.connect(source.owner_url)
    await connection.execute("CREATE TABLE item AS SELECT 1 AS id")
    await connection.close()
    copy = running.create_database("copied", template="source")
    with pytest.raises(StackError, match="exists"):
        running.create_database("copied", template="source")
    connection = await asyncpg.connect(copy.owner_url)
    assert await connection.fetchval("SELECT id FROM item") == 1
    extensions = await connection.fetch("SELECT extname FROM pg_extension ORDER BY 1")
    assert [e["extname"] for e in extensions] == ["pg_stat_statements", "plpgsql"]
    running.drop_database("copied")  # ends the open session
    with pytest.raises(asyncpg.PostgresError):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    running.drop_database("source")
    running.drop_database("source")


@pytest.mark.parametrize("name", ["postgres", "template1", 'a"b', "", "UPPER", "x" * 64])
def test_names_that_are_refused(running, name):
    with pytest.raises(StackError, match="cannot be a database"):
        running.drop_database(name)


def test_passwords_do_not_show_in_statistics(running):
    shown = running.primary.sql("SELECT query FROM pg_stat_statements", database="impact")
    for password in running._site.record.passwords.values():
        assert password not in shown


def test_settings_are_in_force(running):
    shown = running.primary.sql(
        "SHOW shared_preload_libraries; SHOW max_connections; SHOW timezone; SHOW jit;"
        "SHOW log_min_duration_statement; SELECT count(*) FROM pg_file_settings WHERE error <> ''"
    )
    assert shown.split("\n") == [
        "pg_stat_statements,auto_explain",
        "200",
        "UTC",
        "off",
        "100ms",
        "0",
    ]
