"""What is known of the relay, for whoever shows it."""

from dataclasses import dataclass

MOST_COUNTED = 100_000


@dataclass(slots=True)
class RelayStatus:
    """As this process sees it. ``waiting`` counts the records not yet in the log, of all
    processes, up to ``MOST_COUNTED``; ``oldest_seconds`` is how long the oldest has waited. Both
    are looked at every few seconds. The totals are this process's own since its start.
    """

    running: bool = False
    held_by_me: bool = False
    waiting: int = 0
    oldest_seconds: float = 0.0
    moved_total: int = 0
    raised_total: int = 0
    failures_total: int = 0
    last_error: str | None = None
    """What it is waiting for; None while all is well."""
