"""Sessions, tokens and limits, with a clock of the tests' own."""

from __future__ import annotations

import asyncio

import pytest

from darse.web.accounts import Account, Role
from darse.web.limits import RateLimit
from darse.web.sessions import Sessions


class FakeTime:
    """Seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def sessions(time: FakeTime) -> Sessions:
    return Sessions(time)


def test_a_token_is_good_once(sessions: Sessions) -> None:
    token = sessions.new_token()
    assert not sessions.take_token("another")
    assert sessions.take_token(token)
    assert not sessions.take_token(token)


def test_a_token_is_good_for_a_quarter_of_an_hour(sessions: Sessions, time: FakeTime) -> None:
    token = sessions.new_token()
    time.now += 15 * 60
    assert not sessions.take_token(token)


def test_a_session_is_found_by_its_number_only(sessions: Sessions) -> None:
    number, session = sessions.begin("alice", Role.LOOK)
    assert sessions.find(number) is session
    assert sessions.find("") is None
    assert sessions.find(number + "x") is None
    assert number not in repr(vars(sessions)), "the number itself is kept nowhere"


def test_a_session_ends_when_it_is_not_used(sessions: Sessions, time: FakeTime) -> None:
    number, _ = sessions.begin("alice", Role.LOOK)
    time.now += 8 * 3600
    assert sessions.find(number) is not None
    time.now += 8 * 3600 + 1
    assert sessions.find(number) is None
    assert len(sessions) == 0


def test_a_session_ends_after_a_day_in_any_case(sessions: Sessions, time: FakeTime) -> None:
    number, _ = sessions.begin("alice", Role.LOOK)
    for _ in range(24):
        time.now += 3600
        assert sessions.find(number) is not None
    time.now += 1
    assert sessions.find(number) is None


def test_of_too_many_sessions_the_one_unused_longest_ends(sessions: Sessions, time: FakeTime) -> None:
    numbers = []
    for _ in range(201):
        time.now += 1
        numbers.append(sessions.begin("alice", Role.LOOK)[0])
    assert len(sessions) == 200
    assert sessions.find(numbers[0]) is None
    assert sessions.find(numbers[1]) is not None


def test_forms_have_a_token_of_their_session(sessions: Sessions) -> None:
    _, one = sessions.begin("alice", Role.LOOK)
    _, other = sessions.begin("alice", Role.LOOK)
    assert one.has_token(one.csrf)
    assert not one.has_token(other.csrf)
    assert not one.has_token("")
    assert not one.has_token("\udcff")


async def test_streams_end_with_their_session(sessions: Sessions) -> None:
    number, session = sessions.begin("alice", Role.LOOK)
    held = asyncio.Event()

    async def stream() -> None:
        assert session.holds_stream()
        held.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(stream())
    await held.wait()
    sessions.end(number)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_streams_of_a_session_are_limited(sessions: Sessions) -> None:
    _, session = sessions.begin("alice", Role.LOOK)
    end = asyncio.Event()

    async def stream() -> bool:
        held = session.holds_stream()
        await end.wait()
        return held

    tasks = [asyncio.create_task(stream()) for _ in range(26)]
    await asyncio.sleep(0)
    end.set()
    assert sum(await asyncio.gather(*tasks)) == 24
    assert session.holds_stream()
    session.release_stream()


def test_a_rate_limit_fills_again(time: FakeTime) -> None:
    limit = RateLimit(rate=0.5, burst=3, clock=time)
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("b")
    time.now += 2
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    time.now += 1000
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]


def test_a_rate_limit_keeps_few_keys(time: FakeTime) -> None:
    limit = RateLimit(rate=1, burst=1, clock=time)
    for number in range(10_000):
        limit.allows(str(number))
    assert len(limit._buckets) <= 4096
    assert not limit.allows("9999")


def test_a_session_ends_with_its_account(sessions: Sessions) -> None:
    alice, bob = Account("alice", Role.OPERATE, "hash"), Account("bob", Role.LOOK, "hash")
    numbers = [sessions.begin(one.name, one.role, one)[0] for one in (alice, bob)]
    token, _ = sessions.begin("token", Role.ADMINISTRATE)
    assert sessions.accounts() == {"alice", "bob"}
    sessions.drop_accounts({"alice": alice, "bob": bob})
    assert all(sessions.find(number) for number in (*numbers, token))
    sessions.drop_accounts({"alice": alice._replace(role=Role.LOOK)})
    assert [sessions.find(number) is not None for number in (*numbers, token)] == [False, False, True]
