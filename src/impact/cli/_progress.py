"""A progress bar on standard error, for people alone."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from impact.flows.imports.summary import Progress as Report
from impact.flows.imports.summary import no_progress


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Report]:
    """A callback that moves the bar; one that does nothing when quiet or not at a terminal."""
    if quiet or not sys.stderr.isatty():
        yield no_progress
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def report(step: str, fraction: float | None) -> None:
            total = None if fraction is None else 1.0
            bar.update(task, description=step, total=total, completed=fraction or 0.0)

        yield report
