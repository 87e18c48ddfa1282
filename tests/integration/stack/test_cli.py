"""The commands: what they print and their exit status."""

import json

import pytest
from click.testing import CliRunner

from impact.cli.stack import stack as group

pytestmark = pytest.mark.xdist_group("stack")


def run(*args):
    return CliRunner().invoke(group, [str(a) for a in args])


def test_up_status_down(make_stack):
    data_dir = make_stack().data_dir
    none = run("status", "--data-dir", data_dir)
    assert (none.exit_code, "No stack in" in none.output) == (3, True)
    up = run("up", "--data-dir", data_dir, "--replicas", 0, "--json")
    assert up.exit_code == 0
    assert json.loads(up.stdout)["primary_url"].startswith("postgresql://impact_app:")
    status = run("status", "--data-dir", data_dir, "--json")
    assert status.exit_code == 0
    assert [(s["name"], s["running"]) for s in json.loads(status.stdout)] == [
        ("primary", True),
        ("redis", True),
    ]
    assert run("down", "--data-dir", data_dir).exit_code == 0
    stopped = run("status", "--data-dir", data_dir)
    assert (stopped.exit_code, "stopped" in stopped.output) == (3, True)


@pytest.mark.parametrize("args", [("--replicas", "4"), ("--data-dir", "/dev/null/x")])
def test_errors_are_one_line(args):
    result = run("up", *args)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
