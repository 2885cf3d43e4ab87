"""The check of the store of images keeps nobody waiting, however much it looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from darse.core.events import EventLog
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images.service import ImageService
from darse.recovery.startup import Recovery
from darse.testing.blocking import on_this_thread


async def test_all_is_looked_at_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    service = ImageService(tmp_path, state, EventLog(state))
    service.open([], Recovery(tmp_path, state))
    with state.transaction() as connection:
        connection.execute("INSERT INTO snapshots VALUES (?, ?, ?)", ("gone", "", b"[]"))
    (tmp_path / "images" / "layers" / ("a" * 64)).mkdir()
    service.stores.content.put(b"{}", OCI_MANIFEST)
    asked: list[str] = []
    rows = state.rows

    def noted(query: str, *arguments: object) -> list[tuple[object, ...]]:
        asked.append(query)
        return rows(query, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(state, "rows", noted)
    with on_this_thread(tmp_path) as seen:
        found = [one async for one in service.fsck.check([], repair=False)]
    assert seen == []
    assert not [query for query in asked if "PRAGMA" in query]
    findings = [one.subject.partition(" ")[0] for one in found if one.finding]
    assert findings == ["document", "directory", "writable"]
    assert (found[-1].documents, found[-1].bytes) == (1, 2)
    state.close()


async def test_a_damaged_index_of_the_database_is_found(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    service = ImageService(tmp_path, state, EventLog(state))
    service.open([], Recovery(tmp_path, state))
    with state.transaction() as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX events_time ON events (time_ns + 1)' "
            "WHERE name = 'events_time'"
        )
        connection.execute("INSERT INTO events (time_ns, document) VALUES (1, x'00')")
    found = [one async for one in service.fsck.check([], repair=False)]
    assert any(one.subject == "database" and "events_time" in one.finding for one in found)
    state.close()
