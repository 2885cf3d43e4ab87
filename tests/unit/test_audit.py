"""The audit log."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from darse.audit import AuditLog


def test_records_are_lines_with_their_time_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "below" / "audit.log"
    log = AuditLog(path)
    log.record(user="alice", action="stop")
    log.record(user="a\nb", action="<script>")
    log.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["user"], one["action"]) for one in records] == [("alice", "stop"), ("a\nb", "<script>")]
    assert records[0]["time"].endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for number in range(2):
        log = AuditLog(tmp_path / "log")
        log.record(number=number)
        log.close()
    assert [json.loads(line)["number"] for line in (tmp_path / "log").read_text().splitlines()] == [0, 1]


def test_files_are_rotated_by_size_and_the_oldest_is_removed(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", max_size=200, max_files=3)
    for number in range(40):
        log.record(number=number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    kept = [
        json.loads(line)["number"]
        for name in ("log.2", "log.1", "log")
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert kept == list(range(kept[0], 40))
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())


def test_a_single_file_is_begun_anew(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", max_size=100, max_files=1)
    for number in range(10):
        log.record(number=number)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert '"number":9' in (tmp_path / "log").read_text()


def test_a_full_disk_is_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(Path("/dev/full"))
    for number in range(5):
        log.record(number=number)
    log.close()
    assert log.lost == 5
    assert [one.levelname for one in caplog.records] == ["ERROR"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        AuditLog(tmp_path / "log")


def test_writing_is_a_threads_work(tmp_path: Path) -> None:
    """Whoever records something does not wait for the disk."""
    log = AuditLog(tmp_path / "log")
    writers: list[str] = []
    write = log._write
    log._write = lambda line: (writers.append(threading.current_thread().name), write(line))[1]  # type: ignore[method-assign]
    log.record(number=1)
    log.close()
    assert writers == ["audit"]
