"""The databases that benchmarks make for themselves, on a stack that runs."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from impact import settings as settings_module
from impact.cli._settings import signing_keys
from impact.engine.interrupts import uninterrupted
from impact.errors import ConfigurationError
from impact.loadtest.redis_keys import forgotten
from impact.ops import migrations
from impact.settings import Settings
from impact.stack import Endpoints, Stack

_AMPLE = tuple(
    f"{whose}-{what}=50000000"
    for whose in ("tenant", "caller")
    for what in ("read", "write", "checkout", "report")
)
"""Budgets that one machine cannot use up: they are charged like any other."""


def running_stack(data_dir: Path) -> Stack:
    """The stack in the data directory. Raises ConfigurationError where none runs."""
    endpoints = Stack(data_dir).endpoints()
    if endpoints is None:
        raise ConfigurationError(
            f"there is no stack in {data_dir}; start one with 'impact stack up'"
        )
    return Stack(data_dir, replicas=len(endpoints.replica_urls))


@contextlib.contextmanager
def own_database(stack: Stack) -> Iterator[tuple[Settings, Endpoints]]:
    """Settings and addresses of an empty, migrated database that is dropped at the end, as what
    the cache made of it is."""
    name = f"bench_{secrets.token_hex(4)}"
    with contextlib.ExitStack() as ending:
        with uninterrupted():
            endpoints = stack.create_database(name)
            ending.callback(_drop, stack, name)
        migrations.upgrade(endpoints.owner_url)
        settings = settings_module.load(
            {},
            primary_url=endpoints.primary_url,
            replica_urls=endpoints.replica_urls,
            redis_url=endpoints.redis_url,
            cache_service=name.replace("_", "-"),
            signing_keys=signing_keys(stack.data_dir),
            data_dir=str(stack.data_dir),
            log_level="error",
            rate_limits=_AMPLE,
        )
        with forgotten(settings):
            yield settings, endpoints


def _drop(stack: Stack, name: str) -> None:
    with uninterrupted():
        stack.drop_database(name)
