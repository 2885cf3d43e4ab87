"""Rows of networks."""

from __future__ import annotations

from pathlib import Path

import msgspec

from darse.core.state import Schema, State
from darse.engine.engine import SCHEMAS
from darse.networks.model import NETWORK_DOCUMENTS, NetworkRecord, SandboxRecord, SubnetPool
from darse.networks.store import SCHEMA, NetworkStore


def test_the_name_of_a_network_with_a_damaged_record_is_not_free(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    with state.transaction() as connection:
        connection.execute("INSERT INTO networks VALUES ('abc', 'net', ?)", (b"\x00",))
    store = NetworkStore(state)
    assert store.by_name("net") is None
    assert store.damage("net") is not None
    assert store.damage("other") is None
    copy = NetworkRecord(id="abc", name="net", driver="bridge", created_ns=1, pools=[SubnetPool(subnet="10.0.0.0/24")])
    store.repair(msgspec.json.encode([copy]), {"bridge"})
    assert store.by_name("net") == copy
    assert store.damage("net") is not None
    store.repair(msgspec.json.encode([copy]), {"net"})
    assert (store.by_name("net"), store.damage("net"), NetworkStore(state).by_name("net")) == (copy, None, copy)
    state.close()


def test_a_copy_of_before_there_were_several_pools_keeps_its_subnet() -> None:
    copy = {"id": "abc", "name": "net", "driver": "bridge", "created_ns": 1, "subnet": "10.0.0.0/24"}
    record = NETWORK_DOCUMENTS.decode(
        msgspec.json.encode({**copy, "gateway": "10.0.0.1", "reserved": {"a": "10.0.0.9"}})
    )
    assert (record.subnet, record.gateway, record.pools[0].reserved) == ("10.0.0.0/24", "10.0.0.1", {"a": "10.0.0.9"})
    assert NETWORK_DOCUMENTS.decode(NETWORK_DOCUMENTS.encode(record)) == record
    without = NETWORK_DOCUMENTS.decode(msgspec.json.encode({**copy, "subnet": "", "driver": "host"}))
    assert without.pools == []


def test_networks_of_one_subnet_become_networks_of_pools(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    state = State(path, [Schema("networks", SCHEMA.steps[:1])])
    old = {
        "id": "abc",
        "name": "net",
        "driver": "bridge",
        "created_ns": 1,
        "subnet": "10.0.0.0/24",
        "gateway": "10.0.0.1",
        "ip_range": "10.0.0.128/25",
        "reserved": {"router": "10.0.0.9"},
        "bridge": "dbabc",
    }
    host = {"id": "def", "name": "host", "driver": "host", "created_ns": 1, "subnet": "", "gateway": ""}
    with state.transaction() as connection:
        for document in (old, host):
            row = (document["id"], document["name"], msgspec.json.encode(document))
            connection.execute("INSERT INTO networks VALUES (?, ?, ?)", row)
        connection.execute("INSERT INTO networks VALUES ('x', 'damaged', ?)", (b"\x00",))
    state.close()
    state = State(path, SCHEMAS)
    store = NetworkStore(state)
    record = store.get("net")
    assert record.pools == [
        SubnetPool(
            id="10.0.0.0/24",
            subnet="10.0.0.0/24",
            gateway="10.0.0.1",
            ip_range="10.0.0.128/25",
            reserved={"router": "10.0.0.9"},
        )
    ]
    assert (record.bridge, record.ipv4, record.ipv6) == ("dbabc", True, False)
    assert store.get("host").pools == []
    assert store.damage("damaged") is not None
    state.close()


def test_a_sandbox_serves_its_owner_and_those_who_have_joined(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    store = NetworkStore(state)
    store.save_sandbox(SandboxRecord(container_id="one", container_name="one", sandbox_id="s", members=["two"]))
    for container in ("one", "two"):
        found = NetworkStore(state).sandbox_of(container)
        assert found is not None
        assert found.sandbox_id == "s"
    store.save_sandbox(SandboxRecord(container_id="one", container_name="one", sandbox_id="s"))
    assert store.sandbox_of("two") is None
    assert store.delete_sandbox("two") is None
    assert store.delete_sandbox("one") is not None
    assert NetworkStore(state).sandboxes == {}
    state.close()
