"""Which endpoints a sandbox has: its record and the events of it are one change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from darse.core.errors import SystemFault
from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.networks.drivers import Driver
from darse.networks.model import Endpoint, NetworkRecord, PortWishes, PublishedPort, SandboxRecord
from darse.networks.port_mapper import PortMapper
from darse.networks.publishing import Publishing
from darse.networks.store import NetworkStore
from darse.testing.room import container_room
from darse.wire.networks import EndpointSettings

_NETWORK = NetworkRecord(id="abc", name="net", driver="fake", created_ns=1)
_BEFORE = SandboxRecord(container_id="c", container_name="c", sandbox_id="s")
_ENDPOINT = Endpoint(
    network_id="abc", network_name="net", endpoint_id="e", address="10.0.0.2", prefix=24, gateway="10.0.0.1"
)
_AFTER = SandboxRecord(
    container_id="c", container_name="c", sandbox_id="s", endpoints=[_ENDPOINT], wishes=PortWishes(ports={"80/tcp": []})
)


class _Place:
    def __init__(self, directory: Path) -> None:
        self.state = State(directory / "state.sqlite", SCHEMAS)
        self.store = NetworkStore(self.state)
        self.store.save(_NETWORK)
        self.store.save_sandbox(_BEFORE)
        self.events: list[tuple[str, bool]] = []
        self.mapper = mock.Mock(allocate=mock.AsyncMock(), lead=mock.AsyncMock(), unmap_ports=mock.AsyncMock())
        driver = cast(Driver, SimpleNamespace(publishes=True))
        self.publishing = Publishing(self.store, {"fake": driver}, cast(PortMapper, self.mapper))

    def event(self, action: str) -> None:
        self.events.append((action, self.state.in_transaction))

    async def follow(self) -> None:
        await self.publishing.follow(_AFTER, lambda: self.event("connect"), lambda: self.event("disconnect"))

    def endpoints(self) -> list[Endpoint]:
        """Those on record."""
        return NetworkStore(self.state).sandboxes["s"].endpoints


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    made = _Place(tmp_path)
    yield made
    made.state.close()


async def test_an_endpoint_is_on_record_with_its_event(place: _Place) -> None:
    place.mapper.allocate.return_value = ([], {})
    await place.follow()
    assert place.events == [("connect", True)]
    assert place.endpoints() == [_ENDPOINT]


async def test_an_endpoint_is_not_on_record_without_its_event(place: _Place) -> None:
    def fail() -> None:
        raise SystemFault("the disk is full")

    with pytest.raises(SystemFault, match="full"):
        await place.publishing.follow(_AFTER, fail, fail)
    assert place.endpoints() == place.store.sandboxes["s"].endpoints == []


@pytest.mark.parametrize("fails", ["allocate", "lead"])
async def test_an_endpoint_whose_ports_are_taken_is_disconnected_again(place: _Place, fails: str) -> None:
    port = PublishedPort(container_ip="10.0.0.2", container_port=80, protocol="tcp", host_ip="", host_port=80)
    place.mapper.allocate.return_value = ([port], {"80/tcp": []})
    getattr(place.mapper, fails).side_effect = SystemFault("port is already allocated")
    with pytest.raises(SystemFault, match="allocated"):
        await place.follow()
    assert place.events == [("connect", True), ("disconnect", True)]
    assert place.endpoints() == []


async def test_a_container_of_which_others_do_not_hear_is_connected_and_disconnected_all_the_same(
    tmp_path: Path,
) -> None:
    async with container_room(tmp_path) as room:
        networks: Any = room.dependencies.networks
        networks.store.save(_NETWORK)
        networks.store.save_sandbox(_BEFORE)
        calls = ("leave", "delete_endpoint", "program_external_connectivity", "revoke_external_connectivity")
        networks._drivers["fake"] = SimpleNamespace(
            addressed=True,
            hardware_addresses=True,
            keeps_outside=False,
            publishes=False,
            close=lambda: None,
            **{call: mock.AsyncMock() for call in calls},
        )
        networks._addresses.lease = networks._addresses.release = mock.AsyncMock()
        networks._sandboxes._thread = mock.Mock(open=mock.AsyncMock(return_value=(mock.Mock(), set())))
        networks._sandboxes._plug = mock.AsyncMock()
        networks._names.changed = mock.AsyncMock(side_effect=SystemFault("the name server has gone"))
        events: EventLog = room.events
        with pytest.raises(SystemFault, match="name server"):
            await networks.connect("net", "c", room.dependencies.store, EndpointSettings())
        with pytest.raises(SystemFault, match="name server"):
            await networks.disconnect("net", "c")
        told = [event.Action for event in events.between(0, 1 << 62) if event.Type == "network"]
        assert told == ["connect", "disconnect"]
