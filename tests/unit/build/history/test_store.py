"""What is remembered of builds, and how one is found."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.build.history.attachments import AttachmentCollector, Attachments
from darse.build.history.records import BuildRecord, BuildState, BuildSummary, StepLog, StepRecord, StepState
from darse.build.history.store import BuildHistory, find
from darse.build.tables import SCHEMA
from darse.core.errors import NotFound, SystemFault
from darse.core.state import State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    found = State(tmp_path / "state.db", [SCHEMA])
    yield found
    found.close()


def build(number: int, *, name: str = "app:latest", image: str = "", **fields: object) -> BuildSummary:
    summary = BuildSummary(
        id=f"{number:04x}feed",
        state=BuildState.BUILT,
        begun_ns=number * 10,
        ended_ns=number * 10 + 5,
        names=(name,) if name else (),
        image=image or f"sha256:{number:064x}",
    )
    return msgspec.structs.replace(summary, **fields)


def test_a_record_comes_back_with_its_steps_and_what_they_said(state: State) -> None:
    history = BuildHistory(state)
    step = StepRecord(vertex="sha256:1", name="RUN a", state=StepState.EXECUTED, begun_ns=1, ended_ns=2)
    log = StepLog("sha256:1", "RUN a", 3, b"a\xff\n")
    history.add(BuildRecord(build(1), (step,)), [log])
    found = history.find("app")
    assert history.record(found) == BuildRecord(build(1), (step,))
    assert history.logs(found) == (log,)


def test_the_oldest_of_too_many_is_forgotten(state: State) -> None:
    history = BuildHistory(state, most=3)
    for number in range(1, 6):
        history.add(BuildRecord(build(number), ()), [])
    assert [one.begun_ns for one in history.summaries()] == [50, 40, 30]
    with pytest.raises(NotFound, match="darse build history"):
        history.record(build(1))


def test_what_is_pinned_is_not_forgotten_and_not_counted(state: State) -> None:
    history = BuildHistory(state, most=2)
    history.add(BuildRecord(build(1), ()), [])
    assert history.pin(build(1).id, pinned=True)
    assert not history.pin(build(1).id, pinned=True)
    for number in range(2, 6):
        history.add(BuildRecord(build(number), ()), [])
    assert [one.begun_ns for one in history.summaries()] == [50, 40, 10]
    assert history.pinned() == {build(1).id}
    assert history.pin(build(1).id, pinned=False)
    history.add(BuildRecord(build(6), ()), [])
    assert [one.begun_ns for one in history.summaries()] == [60, 50]
    history.pin(build(6).id, pinned=True)
    history.remove(build(6).id)
    assert history.pinned() == frozenset()
    with pytest.raises(NotFound):
        history.pin(build(6).id, pinned=True)


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("0002", 2),
        ("0002feed", 2),
        ("app", 3),
        ("app:latest", 3),
        ("docker.io/library/app", 3),
        ("other:1", 2),
        (f"sha256:{1:064x}", 1),
        (f"{1:064x}"[:-2], 3),  # several begin so: the newest
    ],
)
def test_a_build_is_found_by_its_id_and_by_its_image(reference: str, wanted: int) -> None:
    builds = [build(3), build(2, name="other:1"), build(1)]
    assert find(builds, reference) == builds[3 - wanted]


@pytest.mark.parametrize("reference", ["nothing", "00", "", "sha256:", "INVALID NAME"])
def test_what_means_no_build_is_not_found(reference: str) -> None:
    with pytest.raises(NotFound):
        find([build(3), build(2, state=BuildState.FAILED, image="")], reference)


def test_builds_of_the_same_are_those_with_a_name_in_common_or_of_one_file(state: State) -> None:
    history = BuildHistory(state)
    nameless = {"name": "", "dockerfile": "Dockerfile"}
    for one in (build(1), build(2, name="other:1"), build(3, **nameless), build(4, begun_ns=40, ended_ns=99)):
        history.add(BuildRecord(one, ()), [])
    assert [one.begun_ns for one in history.before(build(5))] == [10]
    assert [one.begun_ns for one in history.before(build(10))] == [40, 10]
    assert [one.begun_ns for one in history.before(build(10, **nameless))] == [30]


_NEWER = {"document_version": 2}


@pytest.mark.parametrize(
    ("column", "document", "asked"),
    [
        ("steps", msgspec.json.encode(_NEWER), lambda history: history.record(build(1))),
        ("log", msgspec.msgpack.encode(_NEWER), lambda history: history.logs(build(1))),
    ],
)
def test_what_a_newer_engine_has_kept_of_a_build_is_refused_and_stays(
    state: State, column: str, document: bytes, asked: Callable[[BuildHistory], Any]
) -> None:
    history = BuildHistory(state)
    history.add(BuildRecord(build(1), ()), [])
    for kept, said in (
        (zlib.compress(document), "the record of build 0001feed was written by a newer darse.*: upgrade darse"),
        (b"no zlib", "the record of build 0001feed is damaged"),
    ):
        state.damaged.clear()
        with state.transaction() as connection:
            connection.execute(f"UPDATE build_history SET {column} = ?", (kept,))
        with pytest.raises(SystemFault, match=said):
            asked(history)
        assert state.rows(f"SELECT {column} FROM build_history") == [(kept,)]
        assert history.find("app") == build(1)


def test_a_build_of_a_newer_engine_is_not_listed_and_stays(state: State) -> None:
    history = BuildHistory(state)
    collected = AttachmentCollector("dockerfile.v0", {})
    for number in (1, 2):
        history.add(BuildRecord(build(number), ()), [], collected)
    with state.transaction() as connection:
        connection.execute("UPDATE build_history SET summary = ? WHERE id = '0002feed'", (msgspec.json.encode(_NEWER),))
        newer = zlib.compress(msgspec.json.encode(_NEWER))
        connection.execute("UPDATE build_attachments SET document = ? WHERE build = '0002feed'", (newer,))
    assert history.summaries() == [build(1)]
    assert history.attachments.of("0001feed").frontend == "dockerfile.v0"
    assert history.attachments.of("0002feed") == Attachments()
    assert history.has("0002feed")
