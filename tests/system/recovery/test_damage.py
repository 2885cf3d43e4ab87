"""Kinds of damage to the database and the data root: what the start says, what is there, what a rebuild brings back.

After each start every object on the disk is byte for byte as before, or moved aside, and the log names it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until
from tests.system.recovery.bench import Bench

from darse.engine.rebuild import rebuild

# Kinds of damage that are much like those beside them: `make test-heavy` has all.
_LONG = pytest.mark.heavy
REMEDY = "darse system check --rebuild"


def _missing(bench: Bench) -> None:
    bench.database.unlink()


def _empty(bench: Bench) -> None:
    bench.database.write_bytes(b"")


def _truncated(bench: Bench) -> None:
    with open(bench.database, "r+b") as file:
        file.truncate(bench.database.stat().st_size // 3)


def _garbage(bench: Bench) -> None:
    bench.database.write_bytes(b"\x5a\xa5" * 40000)


def _log_missing(bench: Bench) -> None:
    bench.restore("killed")
    bench.database.with_name("state.sqlite-wal").unlink()
    bench.database.with_name("state.sqlite-shm").unlink()


def _log_garbage(bench: Bench) -> None:
    bench.restore("killed")
    log = bench.database.with_name("state.sqlite-wal")
    log.write_bytes(b"\x5a\xa5" * (log.stat().st_size // 2))
    bench.database.with_name("state.sqlite-shm").unlink()


def _old_copy(bench: Bench) -> None:
    old = bench.database.read_bytes()
    bench.restore("killed")
    for suffix in ("-wal", "-shm"):
        bench.database.with_name(f"state.sqlite{suffix}").unlink()
    bench.database.write_bytes(old)


def _directory(bench: Bench) -> None:
    bench.database.unlink()
    bench.database.mkdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_missing, "is missing"),
        pytest.param(_empty, "is empty", marks=_LONG),
        (_truncated, "is damaged (database disk image is malformed)"),
        pytest.param(_garbage, "is damaged (file is not a database)", marks=_LONG),
        pytest.param(_log_missing, "is older than the data", marks=_LONG),
        pytest.param(_log_garbage, "is older than the data", marks=_LONG),
        (_old_copy, "is older than the data"),
        pytest.param(_directory, "is a directory", marks=_LONG),
    ],
    ids=lambda one: one.__name__.strip("_") if callable(one) else "",
)
def test_a_lost_database_is_a_refusal_and_a_rebuild_brings_everything_back(
    bench: Bench, damage: Callable[[Bench], None], said: str
) -> None:
    damage(bench)
    before = bench.prints()
    line = bench.refused()
    assert said in line
    assert str(bench.database) in line
    assert REMEDY in line
    assert bench.prints() == before
    done = bench.rebuild()
    assert done.status == 0, done.out + done.err
    bench.engine.up()
    bench.nothing_is_lost(before, bench.engine.log())
    bench.everything_is_there()


def test_a_backup_is_enough(bench: Bench) -> None:
    _garbage(bench)
    shutil.rmtree(bench.data / "records")
    assert bench.rebuild().ok().out.count("beginning with the backup") == 1
    bench.engine.up()
    bench.everything_is_there()


def test_copies_of_records_are_enough(bench: Bench) -> None:
    _missing(bench)
    (bench.data / "state.backup.sqlite").unlink()
    bench.rebuild().ok()
    bench.engine.up()
    bench.everything_is_there()


def test_without_backup_and_copies_the_data_itself_comes_back(bench: Bench) -> None:
    _missing(bench)
    (bench.data / "state.backup.sqlite").write_bytes(b"damaged, too")
    shutil.rmtree(bench.data / "records")
    before = bench.prints()
    done = bench.rebuild()
    assert done.status == 1
    assert f"cannot be taken back: container {bench.container}" in done.out
    bench.engine.up()
    bench.nothing_is_lost(before, bench.engine.log())
    docker = bench.engine.docker
    assert len(bench.names("images", "-q")) == 2
    image = docker("images", "-q").ok().out.split()[0]
    assert docker("run", "--rm", "-v", "data:/v", image, "cat", "/v/table").ok().line == "rows"


@pytest.mark.parametrize("said", ["the database is made again", "the old database is kept"])
def test_a_rebuild_that_was_killed_is_taken_up_by_the_next_one(bench: Bench, said: str) -> None:
    """With nothing but the database to go by: what it knew is in the new one, or in the one that was set aside."""
    shutil.rmtree(bench.data / "records")
    (bench.data / "state.backup.sqlite").unlink()
    log = bench.database.with_name("state.sqlite-wal")
    log.touch()
    pid = os.fork()
    if not pid:
        rebuild(bench.data, lambda line: os._exit(9) if line.startswith(said) else None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert bench.database.exists() == (said == "the database is made again")
    before = bench.prints()
    done = bench.rebuild()
    assert done.status == 0, done.out + done.err
    bench.engine.up()
    bench.nothing_is_lost(before, bench.engine.log())
    bench.everything_is_there()
    assert sorted(path.name for path in bench.data.iterdir() if "rebuilt" in path.name) == []


def test_a_newer_database_is_left_alone(bench: Bench) -> None:
    with bench.editing() as database:
        database.execute("UPDATE schema_steps SET steps = 99 WHERE room = 'containers'")
    before = bench.prints()
    assert "written by a newer darsed" in bench.refused()
    done = bench.rebuild()
    assert done.status == 1
    assert "written by a newer darsed" in done.err
    assert bench.prints() == before


def test_a_database_that_cannot_be_written_is_a_refusal(bench: Bench) -> None:
    if subprocess.run(["chattr", "+i", str(bench.database)], check=False, capture_output=True).returncode:
        pytest.skip("the file system has no immutable files")
    try:
        before = bench.prints()
        line = bench.refused()
        assert f"cannot write the database {bench.database}" in line
        assert bench.prints() == before
    finally:
        subprocess.run(["chattr", "-i", str(bench.database)], check=True)
    bench.engine.up()
    bench.everything_is_there()


ROWS = {
    "container": ("containers", "UPDATE containers SET record = x'ff7b' WHERE name = 'ended'"),
    "container-state": ("containers", "UPDATE containers SET state = 'nonsense'"),
    "writable-layer": ("snapshots", "UPDATE snapshots SET chain = x'00'"),
    "volume": ("volumes", "UPDATE volumes SET document = x'00' WHERE name = 'data'"),
    "image": ("images", "UPDATE images SET document = x'7b' WHERE id = (SELECT max(id) FROM images)"),
    "target": (
        "image_targets",
        "UPDATE image_targets SET document = '' "
        "WHERE digest = (SELECT target FROM image_names WHERE reference LIKE '%mine%')",
    ),
    "network": ("networks", "UPDATE networks SET document = x'00' WHERE name = 'net'"),
    "event": ("events", "UPDATE events SET document = x'00' WHERE number = (SELECT max(number) FROM events)"),
}


_SELDOM = ("container-state", "volume", "target", "event")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=_LONG) if kind in _SELDOM else kind for kind in ROWS])
def test_a_damaged_row_keeps_only_itself_down(bench: Bench, kind: str) -> None:
    table, statement = ROWS[kind]
    with bench.editing() as database:
        assert database.execute(statement).rowcount == 1
    before = bench.prints()
    bench.engine.up()
    bench.nothing_is_lost(before, bench.engine.log())
    assert bench.moved() == {}
    bench.engine.api("GET", "/events?since=0&until=1")
    bench.engine.docker("events", "--since", "0", "--until", "1s").ok()
    bench.engine.docker("ps", "-a").ok()
    log = bench.engine.log()
    assert "Traceback" not in log
    assert f"of table {table} is damaged" in log
    assert REMEDY in log
    findings = bench.engine.darse("doctor", "--format", "json")
    assert [one for one in json.loads(findings.out) if f"table {table}" in one["found"] and one["level"] == "problem"]
    checked = bench.engine.darse("system", "check")
    assert f"table {table} is damaged" in checked.out
    assert bench.engine.docker("run", "--rm", "builtin/busybox", "echo", "works").ok().line == "works"
    bench.engine.stop()
    bench.rebuild().ok()
    bench.engine.up()
    bench.everything_is_there()
    bench.nothing_is_lost({place: before[place] for place in before if place.startswith("images")}, "")


def test_a_lost_document_of_an_image_is_told(bench: Bench) -> None:
    with bench.editing() as database:
        (image,) = database.execute("SELECT max(id) FROM images").fetchone()
    (bench.data / "images/blobs/sha256" / image.removeprefix("sha256:")).unlink()
    before = bench.prints()
    bench.engine.up()
    bench.nothing_is_lost(before, "")
    checked = bench.engine.darse("system", "check")
    assert (checked.status, f"document {image}: is missing" in checked.out) == (1, True)
    bench.everything_is_there()


def test_a_lost_layer_keeps_only_what_stands_on_it_down(bench: Bench) -> None:
    shutil.rmtree(bench.data / "images/layers" / bench.layer)
    before = bench.prints()
    bench.engine.up()
    bench.nothing_is_lost(before, "")
    log = bench.engine.log()
    assert f"layer sha256:{bench.layer}" in log
    assert "darse system check --repair" in log
    assert bench.engine.docker("run", "--rm", "builtin/busybox", "echo", "works").ok().line == "works"
    lost = bench.engine.docker("run", "--rm", "mine:1", "true")
    assert lost.status == 125
    assert "internal error" not in lost.err
    assert bench.layer in lost.err


@pytest.mark.parametrize("instead", [None, pytest.param("a file", marks=_LONG)])
def test_a_lost_directory_of_a_container_costs_it_no_more_than_its_log(bench: Bench, instead: str | None) -> None:
    directory = bench.data / "containers" / bench.container
    shutil.rmtree(directory)
    if instead is not None:
        directory.write_text(instead)
    before = bench.prints()
    engine = bench.engine
    engine.up()
    log = engine.log()
    bench.nothing_is_lost({place: before[place] for place in before if instead or "containers" not in place}, log)
    assert f"container {bench.container}: {directory} is missing; it is recreated, and its log is empty" in log
    assert str(directory) in engine.darse("doctor").out
    assert engine.docker("logs", "ended").ok().line == ""
    started = engine.docker("start", "-a", "ended")
    assert (started.status, started.line) == (7, "said"), started.err
    assert "Traceback" not in engine.log()


@pytest.mark.parametrize("lost", ["", *(pytest.param(lost, marks=_LONG) for lost in ("upper", "work"))])
def test_a_lost_writable_layer_is_told_at_the_start(bench: Bench, lost: str) -> None:
    path = bench.data / "snapshots" / bench.container / lost
    shutil.rmtree(path)
    before = bench.prints()
    engine = bench.engine
    engine.up()
    bench.nothing_is_lost(before, "")
    assert f"container {bench.container}: {path if lost else path / 'upper'} is missing" in engine.log()
    assert str(path) in engine.darse("doctor").out
    refused = engine.docker("start", "ended")
    assert (refused.status, "is missing" in refused.err) == (1, True), refused.err
    assert "Traceback" not in engine.log()
    assert engine.docker("run", "--rm", "mine:1", "cat", "/file").ok().line == "mine"
    engine.docker("rm", "ended").ok()


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("containers", "file"),
        pytest.param("images/blobs", "loop", marks=_LONG),
        ("trash", "dangling"),
        pytest.param("volumes", "file", marks=_LONG),
    ],
)
def test_what_is_in_the_place_of_a_directory_is_named_with_the_remedy(bench: Bench, place: str, kind: str) -> None:
    path = bench.data / place
    aside = path.rename(bench.data.parent / "aside")
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(path if kind == "loop" else "nowhere")
    try:
        assert bench.refused() == f"darsed: {path} is not a directory: move it away"
        path.unlink()
    finally:
        path.unlink(missing_ok=True)
        aside.rename(path)
    bench.engine.up()
    bench.everything_is_there()


def test_orphans_are_moved_aside_named_and_removed_by_their_owner(bench: Bench) -> None:
    layer = bench.data / "images/layers" / ("a" * 64)
    (layer / "fs").mkdir(parents=True)
    (layer / "fs/file").write_text("x")
    container = bench.data / "containers" / ("b" * 64)
    container.mkdir()
    (container / "log").write_text("said")
    written = bench.data / "snapshots" / ("b" * 64) / "upper"
    written.mkdir(parents=True)
    (written / "file").write_text("mine")
    volume = bench.data / "volumes/found/_data"
    volume.mkdir(parents=True)
    (volume / "file").write_text("data")
    (bench.data / "volumes/odd/other").mkdir(parents=True)
    document = bench.data / "images/blobs/sha256" / ("c" * 64)
    document.write_text("{}")
    empty = bench.data / "snapshots" / ("d" * 64)
    (empty / "upper").mkdir(parents=True)
    before = bench.prints()
    bench.engine.up()
    log = bench.engine.log()
    bench.nothing_is_lost({place: before[place] for place in before if "ddd" not in place}, log)
    assert not empty.exists(), "an empty writable layer holds nothing: what a creation left that was cut short"
    assert set(bench.moved()) == {
        f"images/layers/{'a' * 64}",
        f"containers/{'b' * 64}",
        f"snapshots/{'b' * 64}",
        "volumes/odd",
        f"images/blobs/sha256/{'c' * 64}",
    }
    assert "found" in bench.names("volume", "ls", "-q")
    assert "volume found: found by its directory" in log
    told = bench.engine.darse("doctor").out + bench.engine.darse("system", "check").out
    assert told.count(str(bench.data / "orphans")) >= 10
    assert bench.engine.darse("system", "check").status == 0
    bench.everything_is_there()
    removed = bench.engine.darse("system", "check", "--remove-orphans").ok().out
    assert removed.count("is removed") == 5
    assert bench.moved() == {}
    assert list((bench.data / "orphans").rglob("*.json")) == []


def test_a_container_whose_row_is_lost_comes_back_with_a_rebuild(bench: Bench) -> None:
    with bench.editing() as database:
        database.execute("DELETE FROM containers")
        database.execute("DELETE FROM snapshots")
        database.execute("DELETE FROM unfinished")
    before = bench.prints()
    bench.engine.up()
    bench.nothing_is_lost(before, bench.engine.log())
    assert set(bench.moved()) == {f"containers/{bench.container}", f"snapshots/{bench.container}"}
    bench.engine.stop()
    bench.rebuild().ok()
    bench.engine.up()
    bench.everything_is_there()


def test_a_container_that_runs_is_not_ended_without_a_record(bench: Bench) -> None:
    engine = bench.engine
    engine.up()
    serial = bench.serial()
    script = "echo begun > /file; sleep 1000"
    runner = engine.docker(
        "run", "-d", "--name", "runner", "-p", "127.0.0.1::80", "builtin/busybox", "sh", "-c", script
    )
    container = runner.ok().line
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "runner").ok().line
    port = engine.docker("port", "runner").ok().out
    wait_until(lambda: bench.serial() > serial, 10, "the copies of records")
    engine.kill9()
    saved = bench.database.read_bytes(), bench.database.with_name("state.sqlite-wal").read_bytes()
    for suffix in ("", "-wal", "-shm"):
        bench.database.with_name(f"state.sqlite{suffix}").unlink()
    try:
        assert "is missing" in bench.refused()
        assert _runs(pid)
        # A database that lacks this container only: it is set apart, and goes on.
        bench.database.write_bytes(saved[0])
        bench.database.with_name("state.sqlite-wal").write_bytes(saved[1])
        with bench.editing() as database:
            database.execute("DELETE FROM containers WHERE name = 'runner'")
            database.execute("DELETE FROM unfinished")
        engine.up()
        assert _runs(pid)
        assert f"container {container}: it runs, and no record names it" in engine.log()
        assert f"container {container}" in engine.darse("doctor").out
        engine.stop()
        assert _runs(pid)
        bench.rebuild().ok()
        engine.up()
        assert engine.docker("inspect", "-f", "{{.State.Pid}}", "runner").ok().line == pid
        assert engine.docker("exec", "runner", "cat", "/file").ok().line == "begun"
        assert engine.docker("port", "runner").ok().out == port
    finally:
        if engine.process is not None and engine.process.poll() is not None:
            bench.rebuild()
            engine.up()
        engine.docker("rm", "-f", "runner")


def _runs(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"1000" in file.read()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "damage",
    [
        ["UPDATE containers SET record = x'7b' WHERE name = 'runner'"],
        [
            "DELETE FROM containers WHERE name = 'runner'",
            "DELETE FROM snapshots WHERE container_id NOT IN (SELECT id FROM containers)",
            "DELETE FROM sandboxes",
            "DELETE FROM unfinished",
        ],
    ],
    ids=["damaged", "lost"],
)
def test_nothing_is_taken_from_a_running_container_without_a_sound_record(bench: Bench, damage: list[str]) -> None:
    engine = bench.engine
    docker = engine.docker
    engine.up()
    serial = bench.serial()
    docker("rm", "ended").ok()
    run = ("run", "-d", "--name", "runner", "-p", "127.0.0.1::80", "-v", "data:/v", "-v", "/anonymous")
    docker(*run, "mine:1", "sleep", "1000").ok()
    docker("rmi", "-f", "mine:1").ok()
    before = docker("inspect", "-f", "{{.State.Pid}} {{.NetworkSettings.IPAddress}}", "runner").ok().line
    port = docker("port", "runner").ok().out
    volumes = bench.names("volume", "ls", "-q")
    wait_until(lambda: bench.serial() > serial, 10, "the copies of records")
    engine.kill9()
    with bench.editing() as database:
        for statement in damage:
            database.execute(statement)
    try:
        engine.up()
        others = [docker("run", "-d", "builtin/busybox", "sleep", "1000").ok().line for _ in range(3)]
        addresses = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", *others).ok().out.split()
        assert before.split()[1] not in addresses
        removal = docker("volume", "rm", "data")
        assert (removal.status, "which volumes it uses is not known" in removal.err) == (1, True), removal.err
        assert docker("volume", "prune", "-af").status == 1
        docker("image", "prune", "-af").ok()
        docker("rm", "-f", *others).ok()
        assert bench.names("volume", "ls", "-q") == volumes
        assert (bench.data / "images/layers" / bench.layer).is_dir()
        engine.stop()
        bench.rebuild().ok()
        engine.up()
        after = docker("inspect", "-f", "{{.State.Pid}} {{.NetworkSettings.IPAddress}}", "runner").ok().line
        assert (after, docker("port", "runner").ok().out) == (before, port)
        docker("restart", "-t", "0", "runner").ok()
        assert docker("exec", "runner", "cat", "/file", "/v/table").ok().out == "mine\nrows\n"
    finally:
        if engine.process is not None and engine.process.poll() is None:
            engine.stop()
        bench.rebuild()
        engine.up()
        docker("rm", "-f", "-v", "runner").ok()


def test_references_that_are_not_those_of_the_records_are_found_and_made_anew(bench: Bench) -> None:
    engine = bench.engine
    docker = engine.docker
    engine.up()
    container = docker("create", "--name", "user", "-v", "data:/v", "mine:1").ok().line

    def damage() -> None:
        with bench.editing() as database:
            database.execute("DELETE FROM object_references WHERE object = 'data'")
            database.execute("INSERT INTO object_references VALUES (?, 'network', 'net', 1)", ("0" * 64,))

    damage()
    checked = engine.darse("system", "check")
    assert checked.status == 1
    for found in (
        f"container {container}",
        "volume data is lacking",
        f"container {'0' * 64}",
        "network net is too much",
    ):
        assert found in checked.out
    engine.darse("system", "check", "--repair").ok()
    engine.darse("system", "check").ok()
    engine.kill9()
    damage()
    engine.up()
    engine.darse("system", "check").ok()
    removal = docker("volume", "rm", "data")
    assert (removal.status, "volume is in use" in removal.err) == (1, True), removal.err
    docker("rm", "user").ok()


def test_a_network_with_a_damaged_row_goes_on_as_its_copy_says(bench: Bench) -> None:
    engine = bench.engine
    docker = engine.docker
    engine.up()
    server = ("nc", "-ll", "-p", "80", "-e", "echo", "served")
    docker("run", "-d", "--name", "runner", "--network", "net", "-p", "127.0.0.1::80", BUSYBOX, *server).ok()
    port = int(docker("port", "runner", "80").ok().line.rpartition(":")[2])
    address = docker("inspect", "-f", "{{.NetworkSettings.Networks.net.IPAddress}}", "runner").ok().line
    ask = ("run", "--rm", "--network", "net", BUSYBOX, "nc", address, "80")
    assert docker(*ask).ok().line == "served"
    engine.kill9()
    with bench.editing() as database:
        assert database.execute(ROWS["network"][1]).rowcount == 1
    try:
        engine.up()
        assert "has lost its network" not in engine.log()
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            assert client.recv(100) == b"served\n"
        assert docker(*ask).ok().line == "served"
        damaged = [
            one for one in json.loads(engine.darse("doctor", "--format", "json").out) if "networks" in one["found"]
        ]
        assert [one["level"] for one in damaged] == ["problem"]
        assert docker("network", "create", "net").status == 1
        engine.stop()
        bench.rebuild().ok()
        engine.up()
        assert docker(*ask).ok().line == "served"
        assert "table networks" not in engine.darse("doctor", "--format", "json").out
    finally:
        docker("rm", "-f", "runner")


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("engine-id", b"\xff\xfe"),
        pytest.param("records/serial", b"many", marks=_LONG),
        ("records/images.json", b"{"),
        pytest.param("orphans", b"a file", marks=_LONG),
    ],
)
def test_a_damaged_file_of_the_engine_keeps_nothing_down(bench: Bench, place: str, content: bytes) -> None:
    path = bench.data / place
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(content)
    bench.engine.up()
    assert "Traceback" not in bench.engine.log()
    bench.everything_is_there()


def test_a_second_engine_does_not_come_in_without_the_lock_file(bench: Bench) -> None:
    bench.engine.up()
    for root in (bench.data, bench.engine.exec_root):
        (root / "lock").unlink()
    assert f"another engine runs on {bench.data}" in bench.refused()
    done = bench.rebuild()
    assert (done.status, f"another engine runs on {bench.data}" in done.err) == (1, True)
    bench.everything_is_there()


def test_a_pidfile_of_an_engine_that_runs_is_refused(bench: Bench) -> None:
    bench.engine.up()
    pidfile = bench.engine.root / "pid"
    pidfile.write_text(f"{bench.engine.pid}\n")
    roots = ("--data-root", str(bench.engine.root / "d2"), "--exec-root", str(bench.engine.root / "x2"))
    command = [*bench.engine.command(), *roots, "--pidfile", str(pidfile)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"delete {pidfile}: process with PID {bench.engine.pid} is still running" in done.stderr
    assert pidfile.read_text() == f"{bench.engine.pid}\n"


def test_a_pidfile_on_a_full_disk_is_a_warning(bench: Bench, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", str(tmp_path)], check=True)
    try:
        bench.engine.flags = ("--pidfile", str(tmp_path / "pid"))
        bench.engine.up()
        assert f"cannot write the pidfile {tmp_path / 'pid'}: No space left on device" in bench.engine.log()
        bench.everything_is_there()
        assert bench.engine.stop() == 0
    finally:
        bench.engine.flags = ()
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_wait_for_a_container_that_went_while_no_engine_ran_is_answered(bench: Bench) -> None:
    engine = bench.engine
    engine.up()
    script = "trap 'exit 5' TERM; while :; do sleep 0.1; done"
    container = engine.docker("run", "-d", "--rm", "--name", "brief", BUSYBOX, "sh", "-c", script).ok().line
    pid = int(engine.docker("inspect", "-f", "{{.State.Pid}}", "brief").ok().line)
    engine.kill9()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the container")
    engine.up()
    assert engine.docker("inspect", "brief").status == 1
    for reference in ("brief", container, container[:12]):
        assert engine.docker("wait", reference).ok().line == "5"
        assert engine.api("POST", f"/containers/{reference}/wait?condition=removed").json()["StatusCode"] == 5
    assert engine.api("POST", f"/containers/{reference}/wait?condition=next-exit").status == 404
    docker = engine.docker
    docker("run", "-d", "--name", "brief", BUSYBOX, "sh", "-c", "exit 6").ok()
    try:
        assert docker("wait", "brief").ok().line == "6"
        assert docker("wait", container).ok().line == "5"
    finally:
        docker("rm", "-f", "brief").ok()
    assert docker("wait", "brief").status == 1
