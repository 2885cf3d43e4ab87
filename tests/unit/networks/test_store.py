"""Rows of networks."""

from __future__ import annotations

from pathlib import Path

import msgspec

from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.networks.model import NETWORK_DOCUMENTS, NetworkRecord, SubnetPool
from darse.networks.store import NetworkStore


def test_the_name_of_a_network_with_a_damaged_record_is_not_free(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    with state.transaction() as connection:
        connection.execute("INSERT INTO networks VALUES ('abc', 'net', ?)", (b"\x00",))
    store = NetworkStore(state)
    assert store.by_name("net") is None
    assert store.damage("net") is not None
    assert store.damage("other") is None
    copy = NetworkRecord(id="abc", name="net", driver="bridge", created_ns=1, pools=[SubnetPool(subnet="10.0.0.0/24")])
    store.mend(msgspec.json.encode([copy]), {"bridge"})
    assert store.by_name("net") == copy
    assert store.damage("net") is not None
    store.mend(msgspec.json.encode([copy]), {"net"})
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
