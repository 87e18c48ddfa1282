"""The parts that need no server."""

import os
import subprocess
from pathlib import Path

import pytest

from impact.stack import Stack, StackError, _conf
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


def test_first_error_is_told():
    assert error_in("NOTICE:  x\npsql:<stdin>:3: ERROR:  no such thing\nLINE 1") == "no such thing"
    assert error_in("") == "no message"
