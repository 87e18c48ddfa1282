"""Who begins next: few in each turn of the loop, the shops in turns."""

import asyncio
import contextlib

from impact.engine.limits.door import _EACH_TURN, _LONGEST_KNOWN, _MOST_KNOWN, Door


class Service:
    """Requests that note when they begin; ``turn`` counts the loop's turns."""

    def __init__(self) -> None:
        self.door = Door()
        self.begun: list[tuple[int, str]] = []
        self.turn = 0
        self._counting = True
        asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self.turn += 1
        if self._counting:
            asyncio.get_running_loop().call_soon(self._count)

    async def request(self, name: str, flow: str) -> None:
        if not self.door.open():
            await self.door.wait(flow)
        self.begun.append((self.turn, name))

    async def all_of(self, *asked: tuple[str, str]) -> list[str]:
        """Requests that come in one turn, by name and flow; the names as they began."""
        await asyncio.gather(*(self.request(*each) for each in asked))
        self._counting = False
        return [name for _, name in self.begun]


def test_a_shop_is_one_flow_however_it_is_named() -> None:
    door = Door()
    for said in (b"paris", b"%70aris", b"pk_paris_x", b"Bearer of.paris"):
        assert door.flow(said, "10.0.0.1") == "10.0.0.1"  # nobody was let in by it yet
        door.know(said, "paris")
        assert door.flow(said, "10.0.0.2") == "paris"


def test_names_that_are_made_up_share_their_senders_turn() -> None:
    door = Door()
    assert {door.flow(b"shop-%d" % number, "10.0.0.1") for number in range(100)} == {"10.0.0.1"}


def test_what_is_known_is_bounded() -> None:
    door = Door()
    for number in range(_MOST_KNOWN + 1):
        door.know(b"%d" % number, "paris")
    door.know(b"x" * (_LONGEST_KNOWN + 1), "paris")
    assert door.flow(b"0", "10.0.0.1") == "10.0.0.1"
    assert door.flow(b"x" * (_LONGEST_KNOWN + 1), "10.0.0.1") == "10.0.0.1"
    assert door.flow(b"%d" % _MOST_KNOWN, "10.0.0.1") == "paris"


async def test_few_begin_in_a_turn_and_in_their_order() -> None:
    service = Service()
    names = [str(number) for number in range(30)]
    assert await service.all_of(*((name, "paris") for name in names)) == names
    in_turn = [turn for turn, _ in service.begun]
    assert max(in_turn.count(turn) for turn in in_turn) == _EACH_TURN
    # Once there is a queue, no turn goes by in which nobody begins.
    later = in_turn[_EACH_TURN:]
    assert len(set(later)) == max(later) - min(later) + 1
    assert service.door.waiting == 0


async def test_a_shop_that_asks_for_much_waits_for_itself() -> None:
    service = Service()
    noisy = [(f"noisy {number}", "noisy") for number in range(200)]
    begun = await service.all_of(*noisy, ("quiet 1", "quiet"), ("quiet 2", "quiet"))
    assert begun.index("quiet 1") < 2 * _EACH_TURN
    assert begun.index("quiet 2") < 3 * _EACH_TURN
    assert [name for name in begun if "noisy" in name] == [name for name, _ in noisy]


async def test_whoever_is_alone_does_not_wait() -> None:
    door = Door()
    for _ in range(20):
        assert door.open()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_whoever_has_gone_takes_no_place() -> None:
    service = Service()
    tasks = [asyncio.create_task(service.request(str(n), "paris")) for n in range(3 * _EACH_TURN)]
    await asyncio.sleep(0)
    for task in tasks[_EACH_TURN : 2 * _EACH_TURN]:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    names = [name for _, name in service.begun]
    assert names == [str(n) for n in (*range(_EACH_TURN), *range(2 * _EACH_TURN, 3 * _EACH_TURN))]
    assert service.door.waiting == 0
    # The door goes on.
    await asyncio.wait_for(service.request("later", "paris"), 5)
