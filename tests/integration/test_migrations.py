"""The schema comes, matches the models, goes and comes again, as the role that owns it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from impact.ops import migrations
from impact.stack import Stack

_ROOT = Path(__file__).parents[2]
_LEFT = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relname NOT LIKE 'alembic_version%' AND relname NOT LIKE 'pg_stat_statements%'
    UNION ALL SELECT extname FROM pg_extension
        WHERE extname NOT IN ('plpgsql', 'pg_stat_statements')
"""


@pytest.fixture
def owner_url(stack: Stack, worker_id: str) -> Iterator[str]:
    name = f"migrations_{worker_id}"
    yield stack.create_database(name).owner_url
    stack.drop_database(name)


# Not async: Alembic's environment runs a loop of its own.
def test_up_down_and_up_again(stack, owner_url, worker_id):
    migrations.upgrade(owner_url)
    migrations.check(owner_url)
    migrations.downgrade(owner_url)
    assert stack.primary.sql(_LEFT, database=f"migrations_{worker_id}") == ""
    migrations.upgrade(owner_url)
    migrations.check(owner_url)


def test_offline_script():
    """What a database administrator reads before it runs."""
    argv = [sys.executable, "-m", "alembic", "upgrade", "head", "--sql"]
    shown = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "CREATE TABLE product" in shown.stdout
    assert "ENABLE ROW LEVEL SECURITY" in shown.stdout
