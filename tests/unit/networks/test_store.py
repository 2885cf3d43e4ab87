"""Rows of networks."""

from __future__ import annotations

from pathlib import Path

from darse.engine.engine import SCHEMAS
from darse.engine.state import State
from darse.networks.store import NetworkStore


def test_the_name_of_a_network_with_a_damaged_record_is_not_free(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    with state.transaction() as connection:
        connection.execute("INSERT INTO networks VALUES ('abc', 'net', ?)", (b"\x00",))
    store = NetworkStore(state)
    assert store.by_name("net") is None
    assert store.is_damaged("net")
    assert not store.is_damaged("other")
    state.close()
