"""Starting, stopping and being interrupted."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from impact.stack import Stack, StackError
from impact.stack._process import arguments

pytestmark = pytest.mark.xdist_group("stack")


def processes_in(directory: Path) -> list[str]:
    """Whatever works inside of `directory`."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            cwd = (proc / "cwd").readlink()
        except OSError:
            continue
        if cwd.is_relative_to(directory):
            found.append(f"{proc.name} {arguments(int(proc.name))}")
    return found


def start_and_kill(stack: Stack, replicas: int, until: str) -> None:
    """Start in a process of its own and kill that as soon as a path like `until` appears."""
    code = (
        "import sys; from pathlib import Path; from impact.stack import Stack;"
        "Stack(Path(sys.argv[1]), replicas=int(sys.argv[2]), durable=False).up()"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(stack.data_dir), str(replicas)])
    while child.poll() is None and not list(stack.data_dir.glob(until)):
        time.sleep(0.002)
    child.kill()
    child.wait()


def remains(stack: Stack) -> list[Path]:
    return list(stack.data_dir.glob(".building-*"))


def test_up_twice_changes_nothing(running):
    before = [s.pid for s in running.status()]
    assert running.up() == running.up()
    assert [s.pid for s in running.status()] == before
    assert None not in before


def test_another_process_sees_the_same_stack(running):
    other = Stack(running.data_dir, replicas=1, durable=False)
    assert other.up() == running.up()
    assert [s.pid for s in other.status()] == [s.pid for s in running.status()]


def test_down_leaves_no_process(make_stack):
    stack = make_stack(replicas=1)
    stack.up()
    assert processes_in(stack.data_dir)
    stack.down()
    assert processes_in(stack.data_dir) == []
    assert [s.running for s in stack.status()] == [False] * 3
    stack.down()


def test_down_and_status_without_a_stack(make_stack):
    stack = make_stack()
    stack.down()
    assert stack.status() == []
    assert not stack.data_dir.exists()


def test_killed_servers_recover_what_was_committed(make_stack):
    stack = make_stack(replicas=1)
    endpoints = stack.up()
    stack.primary.sql("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    for server in (stack.primary, *stack.replicas, stack.redis):
        server.kill()
        assert not server.is_running()
    assert stack.up() == endpoints
    assert stack.primary.sql("SELECT id FROM kept") == "7"
    assert all(s.running for s in stack.status())


def test_process_id_taken_by_another_program(make_stack):
    stack = make_stack()
    stack.up()
    stack.primary.kill()
    pid_file = stack.primary.directory / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not stack.primary.is_running()
    stack.down()
    stack.up()
    assert stack.primary.is_running()


def test_interrupted_initdb_is_redone(make_stack):
    stack = make_stack()
    start_and_kill(stack, 0, ".building-primary-*/base")
    assert not stack.primary.exists
    stack.up()
    assert stack.primary.sql("SELECT 1") == "1"
    stack.up()
    assert remains(stack) == []


def test_interrupted_copy_is_redone(make_stack):
    make_stack().up()
    start_and_kill(make_stack(), 1, ".building-replica-1-*")
    stack = make_stack(replicas=1)
    assert not stack.replicas[0].exists
    stack.up()
    assert stack.replicas[0].sql("SELECT pg_is_in_recovery()") == "t"
    stack.up()
    assert remains(stack) == []


def test_start_killed_at_every_step(make_stack):
    stack = make_stack(replicas=1)
    steps = (
        "stack.json",
        ".building-primary-*/base",
        "primary/postmaster.pid",
        ".building-replica-1-*/base",
        "replica-1/postmaster.pid",
    )
    for step in steps:
        argv = [Path(sys.executable).with_name("impact"), "stack", "up"]
        argv += ["--data-dir", stack.data_dir]
        child = subprocess.Popen(argv, start_new_session=True, stderr=subprocess.DEVNULL)
        while child.poll() is None and not list(stack.data_dir.glob(step)):
            time.sleep(0.002)
        assert child.poll() is None, f"ended before {step}"
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    stack.up()
    assert "1 streaming" in stack.primary.describe()
    assert all(s.running for s in stack.status())


def test_taken_port_moves_and_replicas_follow(make_stack):
    said = []
    stack = make_stack(replicas=1, log=said.append)
    stack.up()
    taken = stack.primary.port
    stack.primary.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        endpoints = stack.up()
        assert stack.primary.port != taken
        assert f":{stack.primary.port}/" in endpoints.primary_url
        assert any(f"port {taken} is taken" in line for line in said)
        assert stack.primary.sql("SELECT count(*) FROM pg_stat_replication") == "1"


def test_two_starts_at_once_make_one_stack(make_stack):
    stack = make_stack()
    code = (
        "import sys; from pathlib import Path; from impact.stack import Stack;"
        "print(Stack(Path(sys.argv[1]), replicas=0, durable=False).up().primary_url)"
    )
    argv = [sys.executable, "-c", code, str(stack.data_dir)]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {child.communicate()[0] for child in both}
    assert [child.returncode for child in both] == [0, 0]
    assert said == {stack.up().primary_url + "\n"}


def test_only_the_owner_can_read_the_passwords(running):
    record = running.data_dir / "stack.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    for server in (running.primary, *running.replicas, running.redis):
        assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.redis.directory / "redis.conf").stat().st_mode) == 0o600


def test_listens_on_loopback_alone(running):
    for server in (running.primary, *running.replicas):
        assert server.sql("SHOW listen_addresses; SHOW unix_socket_directories") == "127.0.0.1"


def test_lost_record_is_refused(make_stack):
    stack = make_stack()
    stack.up()
    stack.down()
    record = stack.data_dir / "stack.json"
    record.rename(stack.data_dir / "elsewhere")
    with pytest.raises(StackError, match=r"no stack\.json with its passwords"):
        make_stack().up()
    (stack.data_dir / "elsewhere").rename(record)


def test_data_of_another_version_is_refused(make_stack):
    stack = make_stack()
    stack.up()
    stack.down()
    (stack.primary.directory / "PG_VERSION").write_text("15\n")
    with pytest.raises(StackError, match=r"made by PostgreSQL 15, and here is \d+"):
        make_stack().up()


def test_directory_that_cannot_be_made(place):
    (place / "file").touch()
    with pytest.raises(StackError, match="choose another --data-dir"):
        Stack(place / "file" / "data").up()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_is_not_writable(place):
    closed = place / "read-only"
    closed.mkdir(mode=0o500)
    with pytest.raises(StackError, match="not writable"):
        Stack(closed).up()


def test_redis_wants_its_password_and_restarts_without_readable_data(make_stack):
    said = []
    stack = make_stack(log=said.append)
    stack.up()
    assert "Redis" in stack.redis.describe()
    with socket.create_connection(("127.0.0.1", stack.redis.port)) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(64).startswith(b"-NOAUTH")
    stack.redis.stop()
    (stack.redis.directory / "appendonly.aof").write_bytes(b"not an append-only file")
    stack.up()
    assert any("starts empty" in line for line in said)
    os.kill(stack.redis.pid, signal.SIGKILL)
    stack.up()
    assert stack.redis.is_running()


@pytest.fixture
def redis_on_path(make_stack, place, monkeypatch):
    """Put a script that is called as Redis is, and knows {server}, the real one, first on PATH."""

    def put(script: str) -> None:
        programs = place / "programs-of-ours"
        programs.mkdir(mode=0o755)
        program = programs / "redis-server"
        real = make_stack().redis.site.redis.server
        program.write_text("#!/bin/sh\n" + script.replace("{server}", str(real)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        assert make_stack().redis.site.redis.server == program

    yield put
    shutil.rmtree(place / "programs-of-ours")


def test_redis_that_takes_its_time_is_not_started_twice(make_stack, redis_on_path):
    said = []
    # What Redis does with the pidfile of its settings, slowly: it is empty before it is written.
    redis_on_path("""
        [ "$1" = --version ] || file=$(sed -n 's/^pidfile //p' "$1" | tr -d '"')
        [ -z "$file" ] || { sleep 0.5; : >"$file"; sleep 0.5; }
        exec {server} "$@"
    """)
    stack = make_stack(log=said.append)
    stack.up()
    assert not any("starts empty" in line for line in said)
    assert stack.redis.is_running()


def test_redis_that_does_not_start_says_why(make_stack, redis_on_path):
    redis_on_path("""
        [ "$1" != --version ] || exec {server} "$@"
        echo "no memory for $(date +%Y)"; exit 1
    """)
    with pytest.raises(StackError, match=r"Redis does not start: no memory for 20\d\d \(see /"):
        make_stack().up()
