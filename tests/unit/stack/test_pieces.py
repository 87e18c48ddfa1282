"""The parts that need no server."""

import os
import subprocess
from pathlib import Path

import pytest

from impact.stack import Stack, StackError, _conf, _process
from impact.stack._binaries import find_postgres
from impact.stack._files import whole, write_private
from impact.stack._process import arguments, error_in, is_server


def test_settings_are_quoted_for_each_server():
    setting = _conf.Setting("name", 'it\'s "so" \\', "why")
    assert "name = 'it''s \"so\" \\'  # why\n" in _conf.postgres_conf([setting])
    assert _conf.redis_conf([setting]) == '# why\nname "it\'s \\"so\\" \\\\"\n'


def test_every_setting_has_a_reason_and_stands_once():
    for table in (_conf.POSTGRES + _conf.DURABLE, _conf.POSTGRES + _conf.FAST, _conf.REDIS):
        names = [s.name for s in table]
        assert len(names) == len(set(names))
        assert all(s.reason for s in table)


@pytest.mark.parametrize("replicas", [-1, 4])
def test_number_of_replicas_is_bounded(replicas):
    with pytest.raises(StackError, match="between 0 and 3"):
        Stack(Path("unused"), replicas=replicas)


def test_directory_appears_only_when_whole(tmp_path):
    final = tmp_path / "final"
    with pytest.raises(IsADirectoryError), whole(final, None) as directory:
        directory.write_text("fails half way")
    assert list(tmp_path.iterdir()) == []
    with whole(final, None) as directory:
        (directory / "file").touch()
    assert (final / "file").exists()


def test_private_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_process_is_recognised_by_its_directory(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert arguments(child.pid)[1:] == ["60"]
        assert not is_server(child.pid, tmp_path)
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert arguments(child.pid) == []  # a zombie runs no more
    child.wait()


def test_chosen_programs_that_are_of_no_use(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPACT_PG_BINDIR", str(tmp_path))
    with pytest.raises(StackError, match="IMPACT_PG_BINDIR"):
        find_postgres()


def test_old_server_on_path_is_passed_over(tmp_path, monkeypatch):
    for tool in ("postgres", "initdb", "pg_basebackup", "psql"):
        (tmp_path / tool).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.9'\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.delenv("IMPACT_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = find_postgres()
    assert found.bindir != tmp_path
    assert found.major >= 16


@pytest.fixture
def without_trigrams(tmp_path):
    """A recent PostgreSQL without one of its contrib modules."""
    answers = {"postgres": "postgres (PostgreSQL) 99.1", "pg_config": f"{tmp_path}\n{tmp_path}"}
    for tool in ("postgres", "initdb", "pg_basebackup", "psql", "pg_config"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho '{answers.get(tool)}'\n")
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "extension").mkdir()
    for module in ("pg_stat_statements", "auto_explain", "btree_gin"):
        (tmp_path / f"{module}.so").touch()
        (tmp_path / "extension" / f"{module}.control").touch()
    return tmp_path


def test_server_without_contrib_on_path_is_passed_over(without_trigrams, monkeypatch):
    monkeypatch.delenv("IMPACT_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", f"{without_trigrams}:{os.environ['PATH']}")
    assert find_postgres().bindir != without_trigrams
    (without_trigrams / "pg_trgm.so").touch()
    (without_trigrams / "extension" / "pg_trgm.control").touch()
    assert find_postgres().bindir == without_trigrams
    (without_trigrams / "pg_config").unlink()
    assert find_postgres().bindir != without_trigrams


def test_chosen_server_without_contrib_is_told(without_trigrams, monkeypatch):
    monkeypatch.setenv("IMPACT_PG_BINDIR", str(without_trigrams))
    with pytest.raises(StackError, match=r"lacks pg_trgm: install the contrib modules"):
        find_postgres()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_process_in_the_midst_of_exec_is_waited_for(monkeypatch):
    empty = iter(["", "", ""])
    read = _process._read

    def read_in_exec(pid: int, name: str) -> str:
        return next(empty, read(pid, name)) if name == "cmdline" else read(pid, name)

    monkeypatch.setattr(_process, "_read", read_in_exec)
    assert arguments(os.getpid()) != []
    assert next(empty, None) is None


def test_first_error_is_told():
    assert error_in("NOTICE:  x\npsql:<stdin>:3: ERROR:  no such thing\nLINE 1") == "no such thing"
    assert error_in("") == "no message"
