"""What `doctor` says of networks, and of published ports beside another firewall."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

from darse.core.config import EngineConfig
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.networks.checks import examine, open_ports
from darse.networks.drivers import BridgeDriver
from darse.networks.model import NetworkRecord, PublishedPort, SandboxRecord
from darse.networks.store import NetworkStore


def sandbox(name: str, *ports: PublishedPort) -> SandboxRecord:
    return SandboxRecord(container_id=name, container_name=name, sandbox_id=name, published=list(ports))


def port(host_ip: str, host_port: int, protocol: str = "tcp") -> PublishedPort:
    return PublishedPort(protocol, host_ip, host_port, "172.17.0.2", 80)


def test_ports_that_other_machines_reach_are_named_by_container() -> None:
    web = sandbox("web", port("0.0.0.0", 8080), port("", 53, "udp"), port("192.0.2.1", 443), port("127.0.0.1", 9000))
    safe = sandbox("safe", port("127.0.0.1", 5432), port("::1", 5432), port("", 0))
    (found,) = open_ports([web, safe], "ufw", "inet darse-user")
    assert (found.level, found.check) == ("note", "ports of web")
    assert found.found == "open to other machines, past ufw: 53/udp, 443/tcp, 8080/tcp"
    assert "nft add rule inet darse-user forward meta l4proto udp ct original proto-dst 53 " in found.advice


def test_where_there_is_no_other_firewall_nothing_is_said() -> None:
    assert open_ports([sandbox("web", port("", 8080))], "", "inet darse-user") == []


async def test_the_kernel_is_asked_of_each_network_beside_the_event_loop(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    store = NetworkStore(state)
    for name in ("one", "two"):
        store.save(NetworkRecord(id=name, name=name, driver="bridge", created_ns=1, bridge=f"br-{name}"))
    threads: set[int] = set()

    def look(record: NetworkRecord) -> str:
        threads.add(threading.get_ident())
        return "down" if record.name == "two" else ""

    bridges = mock.Mock(exists=look, what_is_wrong=look, programs=SimpleNamespace(refused=""))
    found = await examine(EngineConfig(), store, cast(BridgeDriver, bridges), None)
    assert [one.found for one in found] == ["bridge br-two is down", "none between networks, and no published ports"]
    assert threads
    assert threading.get_ident() not in threads
    state.close()
