"""The queue before a collector: bounded, counted, and over when it is closed."""

import threading

from impact.engine.telemetry.outbox import Outbox


def test_one_that_is_closed_while_its_collector_hangs_ends() -> None:
    """Its thread once went on for ever, at full speed, when more than a batch was left over."""
    asked, let_go = threading.Event(), threading.Event()

    def send(batch: list[int]) -> bool:
        asked.set()
        let_go.wait(20)
        return False

    outbox = Outbox("traces", send, capacity=100, batch=10, delay=0.01)
    for number in range(10):
        outbox.put(number)
    assert asked.wait(20)
    for number in range(50):
        outbox.put(number)
    outbox.close(0.05, abort=lambda: None)
    let_go.set()
    outbox._thread.join(20)
    assert not outbox._thread.is_alive()
    assert (outbox.exported, outbox.refused, outbox.overflowed) == (0, 10, 50)
    assert outbox.waiting == 0
