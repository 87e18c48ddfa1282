"""Whatever is killed at whatever moment: every committed change has its one entry, no entry lacks
its change, and the chains hold (P4).

IMPACT_TEST_KILLS sets how many servers are killed: a few by default, hundreds by hand.
"""

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kills import arena

ROUNDS = int(os.environ.get("IMPACT_TEST_KILLS", "6"))
CHECK_EVERY = 20
CLIENTS = 8


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="impact-kills-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("audit", [False, True], ids=["one database", "audit database apart"])
async def test_the_log_tells_all_of_it(directory: Path, audit: bool) -> None:
    seed = int.from_bytes(os.urandom(4))
    chance = random.Random(seed)  # noqa: S311
    left = ROUNDS
    async with arena(directory, audit=audit) as field:
        while left:
            urls = (field.endpoints.owner_url, field.endpoints.admin_url)
            writers = [asyncio.create_task(field.order()) for _ in range(CLIENTS)]
            writers += [asyncio.create_task(field.operate(url)) for url in urls]
            for _ in range(min(CHECK_EVERY, left)):
                await asyncio.sleep(chance.uniform(0.1, 1.2))
                await asyncio.to_thread(field.kill, chance)
                left -= 1
            # The last of them should have had time to get on.
            await asyncio.sleep(1)
            for writer in writers:
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*writers, return_exceptions=True)
            for _ in range(3):
                await field.settled()
                wrong = await field.wrong()
                if not wrong:
                    break
                # The server goes on with what a client no longer waits for, and may commit it
                # only now. What is lost stays lost.
                await asyncio.sleep(3)
            print(f"seed {seed}, {left} left, killed {dict(field.killed)}, {dict(field.done)}")  # noqa: T201
            assert wrong == [], (seed, wrong[:5])
        assert field.done["transactions"]
        # It would show.
        await field.lose_an_entry()
        assert len(await field.wrong()) > 1
