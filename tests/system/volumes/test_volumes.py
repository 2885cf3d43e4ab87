"""Volumes through a real engine: what containers see, what the host keeps, and what hostile containers try."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Done, Engine
from tests.support.waiting import wait_while


def sh(engine: Engine, script: str, *options: str) -> str:
    """The output of a script in a container that must succeed."""
    return engine.docker("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().out


def mounted_at(path: Path) -> bool:
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture
def host_mounts(tmp_path: Path) -> Iterator[Path]:
    """A restricted tmpfs with another one inside."""
    path = tmp_path / "mounted"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "darse-test", path], check=True)
    (path / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "darse-test", path / "inner"], check=True)
    yield path
    subprocess.run(["umount", path / "inner", path], check=True)


def test_data_outlives_containers(engine: Engine) -> None:
    sh(engine, "echo kept > /data/file", "-v", "keep:/data")
    assert sh(engine, "cat /other/file", "-v", "keep:/other:ro") == "kept\n"
    refused = engine.docker("run", "--rm", "-v", "keep:/data:ro", BUSYBOX, "touch", "/data/x")
    assert "Read-only file system" in refused.err


def test_a_new_volume_takes_what_the_image_has(engine: Engine) -> None:
    assert "root:" in sh(engine, "cat /etc/passwd", "-v", "config:/etc")
    data = engine.data_root / "volumes/config/_data"
    assert (data / "shadow").stat().st_mode & 0o777 == 0o640
    assert sh(engine, "ls /etc", "-v", "bare:/etc:nocopy").split() == ["hostname", "hosts", "resolv.conf"]
    # Once it has something, nothing is copied any more.
    (data / "passwd").unlink()
    assert "passwd" not in sh(engine, "ls /etc", "-v", "config:/etc").split()


def test_a_volume_over_a_file_is_refused(engine: Engine) -> None:
    done = engine.docker("create", "-v", "vol1:/etc/passwd", BUSYBOX, "true")
    assert done.status != 0
    assert "cannot mount volume over existing file, file exists /etc/passwd" in done.err
    assert engine.docker("ps", "-aq").ok().out == ""


def test_anonymous_volumes_go_with_rm_v_and_auto_remove(engine: Engine) -> None:
    sh(engine, "true", "-v", "/anonymous")
    assert engine.docker("volume", "ls", "-q").line == ""
    engine.docker("create", "--name", "one", "-v", "/anonymous", BUSYBOX, "true").ok()
    engine.docker("create", "--name", "two", "-v", "/anonymous", BUSYBOX, "true").ok()
    engine.docker("rm", "-v", "one").ok()
    engine.docker("rm", "two").ok()
    [left] = engine.docker("volume", "ls", "-q", "-f", "dangling=true").out.split()
    assert engine.docker("volume", "prune", "-f").ok().out.splitlines()[:2] == ["Deleted Volumes:", left]


def test_a_volume_in_use_stays(engine: Engine) -> None:
    container = engine.docker("create", "-v", "used:/data", BUSYBOX, "true").line
    done = engine.docker("volume", "rm", "used")
    assert done.status == 1
    assert f"remove used: volume is in use - [{container}]" in done.err
    assert "get nix: no such volume" in engine.docker("volume", "rm", "nix").err


def test_volumes_from(engine: Engine) -> None:
    engine.docker("create", "--name", "donor", "-v", "shared:/a", "-v", "/b", BUSYBOX, "true").ok()
    sh(engine, "echo 1 > /a/x; echo 2 > /b/y", "--volumes-from", "donor")
    assert sh(engine, "cat /a/x /b/y", "--volumes-from", "donor:ro").split() == ["1", "2"]
    refused = engine.docker("run", "--rm", "--volumes-from", "donor:ro", BUSYBOX, "touch", "/a/z")
    assert refused.status != 0


def test_a_volume_of_memory_is_mounted_while_it_is_used(engine: Engine) -> None:
    options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,uid=1000,noexec"]
    engine.docker("volume", "create", *options, "memory").ok()
    data = engine.data_root / "volumes/memory/_data"
    assert not mounted_at(data)
    out = sh(
        engine, "df /m | tail -1; stat -c %u /m; mount | grep ' /m '; head -c 2m /dev/zero > /m/x; :", "-v", "memory:/m"
    )
    assert out.split()[1] == "1024"
    assert "noexec" in out
    assert "1000" in out.split()
    assert not mounted_at(data)
    engine.docker("volume", "rm", "memory").ok()


def test_a_volume_of_a_directory(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host's")
    options = ["--opt", "type=none", "--opt", f"device={tmp_path}", "--opt", "o=bind,ro"]
    engine.docker("volume", "create", *options, "directory").ok()
    assert sh(engine, "cat /m/file", "-v", "directory:/m") == "host's"
    assert "Read-only" in engine.docker("run", "--rm", "-v", "directory:/m", BUSYBOX, "touch", "/m/x").err
    engine.docker("volume", "rm", "directory").ok()
    assert (tmp_path / "file").read_text() == "host's"


def test_what_cannot_be_mounted_says_why_and_leaves_nothing(engine: Engine) -> None:
    options = ["--opt", "type=none", "--opt", "device=/no/such/directory", "--opt", "o=bind"]
    engine.docker("volume", "create", *options, "broken").ok()
    done = engine.docker("run", "--rm", "-v", "broken:/m", BUSYBOX, "true")
    assert done.status == 127, "docker's client makes this of the text"
    assert "failed to mount local volume: mount /no/such/directory:" in done.err
    assert "no such file or directory" in done.err
    assert engine.docker("ps", "-aq").ok().out == ""


def test_binds(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "made/for/it"
    sh(engine, "echo x > /b/file", "-v", f"{source}:/b")
    assert (source / "file").read_text() == "x\n"
    done = engine.docker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/none,dst=/b", BUSYBOX, "true")
    assert f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/none' in done.err
    done = engine.docker("run", "--rm", "-v", f"{source}/file/below:/b", BUSYBOX, "true")
    assert f"error while creating mount source path '{source}/file/below'" in done.err
    done = engine.docker("run", "--rm", "-v", f"{source}:/b:rshared", BUSYBOX, "true")
    assert done.status == 0 or "but it is not a shared mount" in done.err


def test_a_bind_keeps_the_host_s_restrictions_and_read_only_goes_all_the_way(engine: Engine, host_mounts: Path) -> None:
    out = sh(engine, "mount | grep ' /b '", "-v", f"{host_mounts}:/b")
    assert "nosuid,nodev,noexec" in out
    done = engine.docker("run", "--rm", "-v", f"{host_mounts}:/b:ro", BUSYBOX, "touch", "/b/inner/x")
    assert "Read-only file system" in done.err
    writable = f"type=bind,src={host_mounts},dst=/b,ro,bind-recursive=writable"
    engine.docker("run", "--rm", "--mount", writable, BUSYBOX, "touch", "/b/inner/x").ok()


@contextlib.contextmanager
def engine_on_a_mount(place: Path, propagation: str) -> Iterator[Engine]:
    """An engine whose roots are on a mount of their own."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "darse-test", place], check=True)
    try:
        subprocess.run(["mount", f"--make-{propagation}", place], check=True)
        (place / "r").mkdir()
        engine = Engine.start(root=place / "r")
        yield engine
        engine.close()
    finally:
        subprocess.run(["umount", place], check=True)


def bound_root(engine: Engine) -> str:
    """Run a container that sees the data root; return the propagation that inspect shows."""
    engine.docker("run", "-d", "--name", "sees", "-v", f"{engine.data_root}:/root-of-it", BUSYBOX, "sleep", "1000").ok()
    return engine.docker("inspect", "-f", "{{(index .Mounts 0).Propagation}}", "sees").ok().line


def test_a_container_that_sees_the_data_root_holds_no_mount_of_others(tmp_path: Path) -> None:
    """A volume of memory that is mounted at its start goes from it with the volume's last user."""
    with engine_on_a_mount(tmp_path / "m", "shared") as engine:
        engine.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "memory").ok()
        engine.docker("run", "-d", "--name", "uses", "-v", "memory:/m", BUSYBOX, "sleep", "1000").ok()
        assert bound_root(engine) == "rslave"
        seen = ("exec", "sees", "grep", "-c", " /root-of-it/volumes/memory/_data ", "/proc/self/mountinfo")
        assert engine.docker(*seen).line == "1"
        engine.docker("rm", "-f", "uses").ok()
        wait_while(lambda: engine.docker(*seen).line == "1")


def test_a_data_root_on_a_private_mount_is_bound_privately(tmp_path: Path) -> None:
    """docker shows what was meant all the same. What is asked for by its name is not taken back."""
    with engine_on_a_mount(tmp_path / "m", "private") as engine:
        assert bound_root(engine) == "rslave"
        line = engine.docker("exec", "sees", "grep", " /root-of-it ", "/proc/self/mountinfo").ok().out
        assert "master:" not in line
        for propagation, said in (
            ("rslave", "is not a shared or slave mount"),
            ("rprivate", 'must use either propagation mode "rslave" or "rshared"'),
        ):
            bind = f"{engine.data_root}:/r:{propagation}"
            refused = engine.docker("run", "--rm", "-v", bind, BUSYBOX, "true")
            assert (refused.status, said in refused.err) == (125, True), refused.err


def test_subpaths(engine: Engine) -> None:
    sh(
        engine,
        "mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s a/b /v/inside; ln -s / /v/out; ln -s ../../.. /v/up",
        "-v",
        "tree:/v",
    )

    def at(subpath: str, command: str = "cat /m/f") -> tuple[int, str]:
        mount = f"type=volume,src=tree,dst=/m,volume-subpath={subpath}"
        done = engine.docker("run", "--rm", "--mount", mount, BUSYBOX, "sh", "-c", command)
        return done.status, done.out + done.err

    assert at("a/b") == (0, "deep\n")
    assert at("inside") == (0, "deep\n")
    assert at("a/b/f", "cat /m") == (0, "deep\n")
    for bad in ("out", "up", "out/etc", "none", "a/b/f/x"):
        status, text = at(bad)
        # docker's client makes 127 of "no such file or directory".
        assert status in (125, 127), bad
        assert "cannot access path" in text


def test_an_empty_subpath_takes_what_the_image_has(engine: Engine) -> None:
    sh(engine, "mkdir -p /v/sub /v/full; touch /v/full/own", "-v", "tree:/v")

    def at(subpath: str, more: str = "") -> Done:
        mount = f"type=volume,src=tree,dst=/bin,volume-subpath={subpath}{more}"
        return engine.docker("run", "--rm", "--mount", mount, BUSYBOX, "ls", "/bin")

    assert at("sub", ",volume-nocopy").status == 127
    assert "ls" in at("sub").ok().out.split()
    assert at("full").status == 127
    assert "ls" in sh(engine, "ls /v/sub", "-v", "tree:/v").split()
    assert sh(engine, "ls /v", "-v", "tree:/v").split() == ["full", "sub"]


def test_a_subpath_that_is_swapped_for_a_link_never_shows_the_host(engine: Engine, tmp_path: Path) -> None:
    """CVE-2021-30465 / CVE-2017-1002101: a container swaps directory and link while others start on it."""
    (tmp_path / "secret").write_text("secret")
    swap = (
        f"mkdir -p /v/d; ln -s {tmp_path} /v/link; while :; do "
        "mv -T /v/d /v/t && mv -T /v/link /v/d; mv -T /v/d /v/link && mv -T /v/t /v/d; done"
    )
    engine.docker("run", "-d", "--name", "swapper", "-v", "racy:/v", BUSYBOX, "sh", "-c", swap).ok()
    mount = "type=volume,src=racy,dst=/m,volume-subpath=d"
    outcomes = set()
    for _ in range(15):
        done = engine.docker("run", "--rm", "--mount", mount, BUSYBOX, "ls", "/m")
        assert "secret" not in done.out
        outcomes.add(done.status)
    assert outcomes <= {0, 125, 127}


def test_a_volume_nested_deeper_than_paths_are_long_is_removed(engine: Engine) -> None:
    sh(
        engine,
        "cd /v; i=0; while [ $i -lt 700 ]; do mkdir dddddddd && cd dddddddd; i=$((i+1)); done; echo x > leaf",
        "-v",
        "abyss:/v",
    )
    engine.docker("volume", "rm", "abyss").ok()
    assert not (engine.data_root / "volumes/abyss").exists()


def test_shared_memory_of_another_container(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "memory", "--ipc=shareable", BUSYBOX, "sleep", "1000").ok()
    engine.docker("exec", "memory", "sh", "-c", "echo shared > /dev/shm/x").ok()
    out = sh(engine, "cat /dev/shm/x; mount | grep ' /dev/shm '", "--ipc=container:memory")
    assert out.startswith("shared\n")
    assert "nosuid,nodev,noexec" in out
    engine.docker("run", "-d", "--name", "own", "--ipc=private", BUSYBOX, "sleep", "1000").ok()
    refused = engine.docker("run", "--rm", "--ipc=container:own", BUSYBOX, "true")
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in refused.err


def test_inspect_lists_mounts_as_docker_does(engine: Engine, tmp_path: Path) -> None:
    container = engine.docker(
        "create",
        "-v",
        "named:/n:ro",
        "-v",
        f"{tmp_path}:/b",
        "--tmpfs",
        "/t",
        "--mount",
        "type=tmpfs,dst=/u",
        BUSYBOX,
        "true",
    ).line
    points = {
        one["Destination"]: one for one in json.loads(engine.docker("inspect", "-f", "{{json .Mounts}}", container).out)
    }
    assert set(points) == {"/n", "/b", "/u"}
    assert points["/n"] == {
        "Type": "volume",
        "Name": "named",
        "Source": str(engine.data_root / "volumes/named/_data"),
        "Destination": "/n",
        "Driver": "local",
        "Mode": "ro",
        "RW": False,
        "Propagation": "",
    }
    assert points["/b"]["Propagation"] == "rprivate"


def test_volumes_survive_a_crash_of_the_engine(engine: Engine) -> None:
    engine.docker(
        "run", "-d", "--name", "writer", "-v", "safe:/v", BUSYBOX, "sh", "-c", "echo 1 > /v/x; sleep 1000"
    ).ok()
    engine.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "inmemory").ok()
    engine.docker(
        "run", "-d", "--name", "holder", "-v", "inmemory:/v", BUSYBOX, "sh", "-c", "echo 2 > /v/x; sleep 1000"
    ).ok()
    (engine.data_root / "volumes/found/_data").mkdir(parents=True)
    engine.kill9()
    engine.up()
    assert engine.docker("exec", "writer", "cat", "/v/x").out == "1\n"
    assert engine.docker("exec", "holder", "cat", "/v/x").out == "2\n"
    assert mounted_at(engine.data_root / "volumes/inmemory/_data")
    assert "found" in engine.docker("volume", "ls", "-q").out.split()
    engine.docker("rm", "-f", "holder").ok()
    assert not mounted_at(engine.data_root / "volumes/inmemory/_data")


def test_events_tell_of_volumes(engine: Engine) -> None:
    engine.docker("volume", "create", "told").ok()
    sh(engine, "true", "-v", "told:/v")
    engine.docker("volume", "rm", "told").ok()
    until = engine.api("GET", "/info").json()["SystemTime"]
    out = (
        engine.docker("events", "--since", "0", "--until", until, "--filter", "volume=told", "--format", "{{.Action}}")
        .ok()
        .out
    )
    assert out.split() == ["create", "mount", "unmount", "destroy"]
