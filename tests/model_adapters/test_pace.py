"""How many requests are under way."""

from __future__ import annotations

import asyncio

from minchange_eval.model_adapters.pace import Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def after(pace: Pace, *latencies_s: float) -> list[int]:
    """The limit after each window of that latency."""
    limits = []
    for latency_s in latencies_s:
        for _ in range(pace.limit):
            pace.succeeded(latency_s)
        limits.append(pace.limit)
    return limits


def test_a_refusal_halves_and_each_window_of_successes_adds_one_up_to_the_bound() -> None:
    clock = Clock()
    pace = Pace(16, clock)
    pace.congested(sent_at=0.0)
    assert (pace.limit, pace.least) == (8, 8)
    assert after(pace, *[1.0] * 10) == [9, 10, 11, 12, 13, 14, 15, 16, 16, 16]


def test_refusals_of_requests_sent_together_count_once() -> None:
    clock = Clock()
    pace = Pace(16, clock)
    clock.now = 5.0
    for _ in range(16):
        pace.congested(sent_at=4.0)
    assert pace.limit == 8
    clock.now = 6.0
    pace.congested(sent_at=5.5)
    assert pace.limit == 4
    for now in range(7, 20):
        clock.now = now
        pace.congested(sent_at=now)
    assert pace.limit == 1


def test_a_latency_over_twice_the_usual_slows_and_one_that_stays_becomes_the_usual() -> None:
    pace = Pace(16)
    assert after(pace, 1.0, 1.5, 1.0) == [16, 16, 16]
    slowed = after(pace, *[4.0] * 12)
    assert slowed[0] == 12
    assert 3 <= min(slowed) < 12
    assert slowed[-1] > min(slowed)


def test_no_more_than_the_limit_are_under_way_and_a_pause_stops_all() -> None:
    async def run() -> tuple[int, float]:
        pace, under_way, most = Pace(3), 0, 0

        async def one() -> None:
            nonlocal under_way, most
            async with pace.slot():
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.002)
                under_way -= 1

        await asyncio.gather(*[one() for _ in range(20)])
        pace.pause(0.05)
        began = asyncio.get_running_loop().time()
        await one()
        return most, asyncio.get_running_loop().time() - began

    most, waited_s = asyncio.run(run())
    assert most == 3
    assert waited_s >= 0.05


def test_a_slot_of_a_cancelled_request_is_free_again() -> None:
    async def run() -> None:
        pace = Pace(1)

        async def hold() -> None:
            async with pace.slot():
                await asyncio.sleep(60)

        held = asyncio.ensure_future(hold())
        await asyncio.sleep(0)
        held.cancel()
        async with asyncio.timeout(5), pace.slot():
            pass

    asyncio.run(run())
