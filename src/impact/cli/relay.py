"""``impact relay``: the relay of change records as a process of its own."""

import asyncio
import signal
from pathlib import Path

import click

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.engine.changes.relay import Relay
from impact.engine.changes.relay_status import RelayStatus
from impact.engine.db.failures import DRIVER_ERRORS
from impact.engine.db.monitor import Monitor
from impact.engine.db.nodes import NodeSet
from impact.engine.db.roles import refuse_unsafe_role
from impact.engine.runtime import open_versions
from impact.engine.tasks import running
from impact.errors import UnavailableError
from impact.reporting import rollups
from impact.settings import Settings


@click.command("relay")
@data_dir_option
@click.option("--once", is_flag=True, help="Move what waits now, then end.")
def command(data_dir: Path, once: bool) -> None:
    """Move change records into the audit log and tell the cache of changes it has not heard of.
    Fold what orders add to the sums of the sales reports.

    Runs until SIGTERM or SIGINT. Servers with IMPACT_RELAY=on do the same: whoever came first
    holds the lock, and the others take over within seconds of its end.
    """
    with one_line():
        settings = load_settings(data_dir)
        asyncio.run(_run(settings, once=once))


async def _run(settings: Settings, *, once: bool) -> None:
    nodes = NodeSet(settings)
    status = RelayStatus()
    try:
        async with Monitor(nodes), open_versions(settings) as versions:
            await refuse_unsafe_role(nodes)
            relay = Relay(settings, nodes, versions, status)
            if once:
                try:
                    moved = await relay.drain()
                except DRIVER_ERRORS as error:
                    raise UnavailableError(f"the records cannot be moved: {error}") from error
                click.echo(f"Moved {moved:,} records")
                return
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
            async with relay, running(rollups.fold(settings, nodes)):
                await _tell(status, stop)
    finally:
        await nodes.close()


async def _tell(status: RelayStatus, stop: asyncio.Event) -> None:
    """Say how it stands whenever that changes, until stopped."""
    said = None
    while not stop.is_set():
        state = "relaying" if status.held_by_me else "waiting for the lock"
        if status.last_error is not None:
            state = f"waiting: {status.last_error}"
        if state != said:
            click.echo(state)
            said = state
        try:
            await asyncio.wait_for(stop.wait(), 0.5)
        except TimeoutError:
            continue
    click.echo(f"Moved {status.moved_total:,} records")
