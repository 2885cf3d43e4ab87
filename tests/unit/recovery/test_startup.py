"""Copies of records, backups, orphans, notes, and what is refused before anything is touched."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing

import pytest

from darse.core.config import EngineConfig
from darse.core.errors import SystemFault
from darse.core.state import State
from darse.core.unfinished import Unfinished
from darse.engine.engine import SCHEMAS, open_state
from darse.engine.instance import only_engine, pidfile
from darse.recovery.backup import NAME, copy_database
from darse.recovery.orphans import KEPT_DAYS, Orphans
from darse.recovery.records import RecordFiles, read_serial


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    yield state
    state.close()


def volume(state, name, document=b'{"name":"x"}'):
    with state.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO volumes VALUES (?, ?)", (name, document))


async def test_copies_follow_the_rows(state, tmp_path):
    volume(state, "before")
    records = RecordFiles(tmp_path, state)
    told = []
    records.open(lambda: told.append(True))
    while await records.flush():
        pass
    assert (tmp_path / "records/volumes/before.json").read_bytes() == b'{"name":"x"}'
    assert (read_serial(tmp_path), told) == (1, [True])
    volume(state, "after")
    with state.transaction() as connection:
        connection.execute("UPDATE volumes SET document = '{}' WHERE name = 'before'")
    await records.close()
    assert (tmp_path / "records/volumes/after.json").exists()
    assert (tmp_path / "records/volumes/before.json").read_bytes() == b"{}"
    assert read_serial(tmp_path) == 2


async def test_a_change_that_is_rolled_back_is_no_change(state, tmp_path):
    records = RecordFiles(tmp_path, state)
    records.open(lambda: None)
    while await records.flush():
        pass
    with pytest.raises(sqlite3.IntegrityError), state.transaction() as connection:
        connection.executemany("INSERT INTO volumes VALUES (?, '{}')", [("never",), ("never",)])
    assert state.rows("SELECT * FROM temp.changed") == []
    await records.close()


async def test_a_removed_object_loses_its_copy_and_its_note_once_its_data_is_gone(state, tmp_path):
    volume(state, "gone")
    records = RecordFiles(tmp_path, state)
    records.open(lambda: None)
    while await records.flush():
        pass
    (tmp_path / "volumes/gone").mkdir(parents=True)
    with state.transaction() as connection:
        connection.execute("DELETE FROM volumes")
    await records.flush()
    assert Unfinished(state).of("volumes") == {"gone"}
    (tmp_path / "volumes/gone").rmdir()
    await records.flush()
    assert Unfinished(state).of("volumes") == set()
    assert not (tmp_path / "records/volumes/gone.json").exists()
    await records.close()


async def test_a_full_disk_costs_the_copies_and_nothing_else(state, tmp_path):
    records = RecordFiles(tmp_path, state)
    records.open(lambda: None)
    (tmp_path / "records/volumes").rmdir()
    (tmp_path / "records/volumes").write_text("no directory")
    volume(state, "x")
    assert not await records.flush()
    (tmp_path / "records/volumes").unlink()
    (tmp_path / "records/volumes").mkdir()
    volume(state, "y")
    await records.close()
    assert sorted(path.name for path in (tmp_path / "records/volumes").iterdir()) == ["x.json", "y.json"]


def test_a_backup_has_what_is_in_the_log_and_a_damaged_database_does_not_replace_it(state, tmp_path):
    volume(state, "x")
    backup = tmp_path / NAME
    copy_database(state.path, backup)
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT name FROM volumes").fetchall() == [("x",)]
    kept = backup.read_bytes()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(sqlite3.DatabaseError):
        copy_database(damaged, backup)
    assert backup.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".state")] == []


def test_a_damaged_row_is_passed_over_and_remembered(state):
    rows = [("a", b"{}"), ("b", b"\xff"), ("c", None), ("d", b"{}")]
    assert [key for key, _ in state.decoded("things", rows, json.loads)] == ["a", "d"]
    assert state.damaged_in("things") == {"b", "c"}
    assert state.damaged_in("others") == set()


def test_orphans_are_moved_back_and_expire(tmp_path):
    orphans = Orphans(tmp_path)
    directory = tmp_path / "volumes/odd"
    directory.mkdir(parents=True)
    (directory / "file").write_text("x")
    orphan = orphans.set_aside("volumes", directory, "it is no volume")
    assert not directory.exists()
    assert orphans.all() == [orphan]
    assert orphans.expire() == []
    assert orphans.restore(orphan)
    assert (directory / "file").read_text() == "x"
    assert orphans.all() == []
    orphan = orphans.set_aside("volumes", directory, "it is no volume")
    directory.mkdir()
    assert not orphans.restore(orphan), "its place is taken"
    note = tmp_path / f"orphans/volumes/{os.path.basename(orphan.path)}.json"
    told = json.loads(note.read_bytes())
    note.write_text(json.dumps({**told, "age_s": (KEPT_DAYS - 1) * 86400, "seen_s": time.time() - 86400}))
    assert [one.name for one in orphans.expire()] == ["odd"]
    assert orphans.all() == []


def test_a_clock_that_is_set_expires_no_orphan(tmp_path, monkeypatch):
    orphans = Orphans(tmp_path)
    directory = tmp_path / "volumes/odd"
    directory.mkdir(parents=True)
    now = 0.0  # a machine without a clock
    monkeypatch.setattr("darse.recovery.orphans.time.time", lambda: now)
    orphans.set_aside("volumes", directory, "it is no volume")
    now = 1.8e9
    assert orphans.expire() == []
    now = 1.7e9
    assert orphans.expire() == []
    for day in range(1, KEPT_DAYS - 1):
        now = 1.7e9 + day * 86400
        assert orphans.expire() == [], day
    now += 86400
    assert [one.name for one in orphans.expire()] == ["odd"]


def test_an_orphan_without_its_note_is_an_orphan(tmp_path):
    (tmp_path / "orphans/layers/abc").mkdir(parents=True)
    (orphan,) = Orphans(tmp_path).all()
    assert (orphan.kind, orphan.name, orphan.reason) == ("layers", "abc", "its note is lost")
    assert not Orphans(tmp_path).restore(orphan)


def test_a_new_database_over_data_is_refused_and_not_made(tmp_path):
    (tmp_path / "volumes/data").mkdir(parents=True)
    config = EngineConfig(data_root=tmp_path)
    with pytest.raises(SystemFault, match=r"state\.sqlite is missing, and .* holds 1 volumes; nothing was changed"):
        open_state(config)
    assert not (tmp_path / "state.sqlite").exists()


def test_a_new_data_root_gets_a_database(tmp_path):
    open_state(EngineConfig(data_root=tmp_path)).close()
    assert (tmp_path / "state.sqlite").exists()


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_file_that_is_no_database_is_one_sentence(tmp_path, content):
    (tmp_path / "state.sqlite").write_bytes(content)
    with pytest.raises(SystemFault, match=r"is damaged .*darse system check --rebuild") as failure:
        open_state(EngineConfig(data_root=tmp_path))
    assert "\n" not in str(failure.value)
    assert (tmp_path / "state.sqlite").read_bytes() == content


def test_a_lock_that_is_deleted_lets_no_second_engine_in(tmp_path, monkeypatch):
    monkeypatch.setattr("darse.engine.instance._LOCK_SECONDS", 0.05)
    config = EngineConfig(data_root=tmp_path / "d", exec_root=tmp_path / "x")
    with only_engine(config):
        (tmp_path / "d/lock").unlink()
        (tmp_path / "x/lock").unlink()
        with pytest.raises(SystemFault, match="another engine runs on"), only_engine(config):
            pass
    with only_engine(config):
        pass


def test_one_directory_cannot_be_both_roots(tmp_path):
    config = EngineConfig(data_root=tmp_path / "d", exec_root=tmp_path / "d")
    with pytest.raises(SystemFault, match="the same directory"), only_engine(config):
        pass


def test_a_pidfile_of_something_else_is_taken(tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pidfile(EngineConfig(pidfile=path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pidfile_of_an_engine_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("darse.engine.instance.command_of", lambda _: ["python3", "-m", "darse.daemon"])
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pytest.raises(SystemFault, match="process with PID 1 is still running"), pidfile(EngineConfig(pidfile=path)):
        pass
    assert path.read_text() == "1\n"
