"""The ``impact`` command: one file per command group, imported when it is called."""

import importlib
import logging
import signal
from types import FrameType
from typing import NamedTuple

import click

import impact


class _Entry(NamedTuple):
    module: str
    name: str
    help: str


_COMMANDS = {
    "alerts": _Entry("alerts", "alerts", "Show the alert rules, and write them for Prometheus."),
    "audit": _Entry("audit", "audit", "Check, read and keep the audit log."),
    "bench": _Entry("bench", "bench", "Measure this machine."),
    "cache": _Entry("cache", "cache", "Show what the cache does, and end what it holds."),
    "db": _Entry("database", "db", "Migrate the database's schema."),
    "dev": _Entry("dev", "dev", "Start servers, demo shops and the HTTP server on this machine."),
    "import": _Entry("imports", "imports", "Import shop data from files."),
    "limits": _Entry("limits", "command", "Show the rate limits."),
    "loadtest": _Entry("loadtest", "loadtest", "Put load on a server and judge what it does."),
    "queries": _Entry("queries", "queries", "Show which statements take the time."),
    "partitions": _Entry("partitions", "partitions", "Show and prepare the log's partitions."),
    "relay": _Entry("relay", "command", "Move change records into the audit log."),
    "reports": _Entry("reports", "reports", "Check and make anew the sums behind the reports."),
    "routes": _Entry("routes", "command", "List the routes and the permission each needs."),
    "serve": _Entry("serve", "serve", "Serve HTTP."),
    "stack": _Entry("stack", "stack", "Start and stop PostgreSQL, its replicas and Redis here."),
    "tenant": _Entry("tenant", "tenant", "Open a shop."),
    "token": _Entry("token", "token", "Print a bearer token for a user of a shop."),
}


class _Commands(click.Group):
    """Loads a command's module at its first use: ``--help`` need not import a web server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"impact.cli.{entry.module}")
        command: click.Command = getattr(module, entry.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in _COMMANDS.items()])


@click.group(cls=_Commands)
@click.version_option(impact.__version__, prog_name="impact")
def main() -> None:
    """Impact, a multi-tenant e-commerce backend."""
    # What a command has to say it says itself; servers configure their log.
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.ERROR)


def run() -> None:
    """Run the command line of this process. What ends it, ends it as Ctrl-C does: what a command
    has started or made does not outlive it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A script's background job ignores Ctrl-C; what is passed on as that must still end it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup, which ignores SIGHUP
            signal.signal(number, _end)
    main()


_ENDING = (signal.SIGTERM, signal.SIGHUP)


def _end(_number: int, _frame: FrameType | None) -> None:
    # Once: ``timeout`` sends its signal to the process, and then again to its group.
    for number in _ENDING:
        signal.signal(number, lambda *_: None)
    signal.raise_signal(signal.SIGINT)
