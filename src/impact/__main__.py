"""``python -m impact``."""

from impact.cli import run

run()
