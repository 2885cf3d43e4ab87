"""A rebuild that would lose something is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from darse.core.errors import SystemFault
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.engine.rebuild import rebuild


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO volumes VALUES ('data', ?)",
        "INSERT INTO networks VALUES ('1', 'net', ?)",
        "INSERT INTO sandboxes VALUES ('1', ?)",
        "INSERT INTO images VALUES ('sha256:1', ?)",
        "INSERT INTO image_targets VALUES ('sha256:1', ?)",
        "INSERT INTO containers VALUES ('1', 'web', '', ?, '{}')",
        "INSERT INTO containers VALUES ('1', 'web', '', '{}', ?)",
    ],
)
def test_records_of_a_newer_engine_are_not_rebuilt(tmp_path: Path, statement: str) -> None:
    database = tmp_path / "state.sqlite"
    state = State(database, SCHEMAS)
    state.rows(statement, (msgspec.json.encode({"document_version": 99}),))
    state.close()
    before = database.read_bytes()
    said: list[str] = []
    with pytest.raises(SystemFault, match=r"was written by a newer darse: .*; nothing was changed: upgrade darse"):
        rebuild(tmp_path, said.append)
    assert database.read_bytes() == before
