"""What is under way with a container, and who waits until it is over."""

from __future__ import annotations

import asyncio

import pytest

from darse.containers import model
from darse.containers.model import Container, Purpose, Record, RunState, Status
from darse.core.errors import Conflict
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig


def _container(status: Status = Status.RUNNING) -> Container:
    record = Record(
        id="1" * 64,
        name="one",
        created_ns=0,
        image_id="",
        image_reference="",
        config=ContainerConfig(),
        host=HostConfig(),
        endpoints={},
        mounts=[],
    )
    return Container(record, RunState(status))


async def test_a_purpose_lasts_as_long_as_the_last_of_those_who_pursue_it() -> None:
    container = _container()
    with container.under_way(Purpose.ENDING):
        with container.under_way(Purpose.ENDING):
            assert container.undergoes(Purpose.ENDING)
            assert not container.undergoes(Purpose.REMOVAL)
        assert container.undergoes(Purpose.ENDING)
    assert not container.undergoes(Purpose.ENDING)


async def test_everybody_hears_that_it_is_over() -> None:
    container = _container()
    with container.under_way(Purpose.EXEC):
        waits = [asyncio.create_task(container.wait_until_over(Purpose.EXEC, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)
    async with asyncio.timeout(1):
        await asyncio.gather(*waits)


async def test_what_does_not_end_is_not_waited_for_longer_than_asked() -> None:
    container = _container()
    with container.under_way(Purpose.FREEZE):
        await container.wait_until_over(Purpose.FREEZE, 0.01)
        assert container.undergoes(Purpose.FREEZE)
    await container.wait_until_over(Purpose.FREEZE, 5)


async def test_an_end_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    container = _container()
    wait = asyncio.create_task(container.wait_until_exited())
    await asyncio.sleep(0)
    container.state.status = Status.EXITED
    container.resolve_exit_waits()
    await wait
    await container.wait_until_exited()
    container.state.status = Status.RUNNING
    monkeypatch.setattr(model, "_SEEN_SECONDS", 0.01)
    with pytest.raises(Conflict, match="does not come to its end"):
        await container.wait_until_exited()
