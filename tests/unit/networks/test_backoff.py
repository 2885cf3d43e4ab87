"""How often a thing is repaired that somebody takes away for ever."""

from __future__ import annotations

import itertools

from darse.networks.backoff import Backoff


def repair(backoff: Backoff, times: int, now: float = 0.0) -> list[float]:
    """Repair as soon as it may be done, so many times; return when."""
    done = []
    for _ in range(times):
        now += backoff.wait(now)
        backoff.note(now)
        done.append(now)
    return done


def test_a_few_repairs_are_done_at_once_and_then_ever_more_seldom() -> None:
    done = repair(Backoff(), 12)
    assert done[:8] == [0.0] * 8
    assert [later - earlier for earlier, later in itertools.pairwise(done[7:])] == [1, 2, 4, 8]


def test_no_wait_is_longer_than_a_minute() -> None:
    done = repair(Backoff(), 40)
    assert done[-1] - done[-2] == 60


def test_repairs_now_and_then_are_done_at_once_for_ever() -> None:
    backoff = Backoff()
    for number in range(100):
        assert backoff.wait(number * 5.0) == 0
        backoff.note(number * 5.0)


def test_after_peace_all_is_forgotten() -> None:
    backoff = Backoff()
    last = repair(backoff, 20)[-1]
    assert backoff.wait(last) > 0
    assert backoff.is_quiet(last + 121)
    assert backoff.wait(last + 121) == 0
    backoff.note(last + 121)
    assert backoff.wait(last + 121) == 0
