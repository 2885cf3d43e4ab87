"""`cp`, in both directions, with both commands: the rules of docker's reference, one by one."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pexpect
import pytest
from tests.support.engine import BUSYBOX, Client, Engine


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, cli: Client) -> str:
    """A container with a few files, running or not."""
    script = (
        "mkdir -p /a/b; echo hi > /a/f; echo x > /a/b/x; ln -s a /la; ln -s f /a/lf; ln -s nowhere /a/broken; "
        "chmod 4711 /a/f; exec sleep 1000"
    )
    cli("run", "-d", "--name", "cc", "-v", "vol:/vol", BUSYBOX, "sh", "-c", script).ok()
    cli("exec", "cc", "sh", "-c", "until test -u /a/f; do :; done").ok()
    if request.param == "stopped":
        cli("stop", "-t", "0", "cc").ok()
    return "cc"


def listing(cli: Client, path: str) -> list[str]:
    """The names in the archive of a path in the container."""
    archive = cli("cp", f"cc:{path}", "-").ok().raw
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        return read.getnames()


def content(cli: Client, path: str) -> bytes:
    """The content of a file in the container."""
    archive = cli("cp", "-L", f"cc:{path}", "-").ok().raw
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        file = read.extractfile(read.getmembers()[0])
        assert file is not None
        return file.read()


def test_out_to_a_name_and_into_a_directory(cli: Client, container: str, tmp_path: Path) -> None:
    cli("cp", "cc:/a/f", f"{tmp_path}/g").ok()
    assert (tmp_path / "g").read_text() == "hi\n"
    assert (tmp_path / "g").stat().st_mode & 0o7777 == 0o4711
    cli("cp", "cc:/a", f"{tmp_path}/new").ok()
    assert sorted(os.listdir(tmp_path / "new")) == ["b", "broken", "f", "lf"]
    cli("cp", "cc:/a", f"{tmp_path}/new").ok()
    assert (tmp_path / "new" / "a" / "b" / "x").read_text() == "x\n"
    cli("cp", "cc:/a/.", f"{tmp_path}/contents").ok()
    assert sorted(os.listdir(tmp_path / "contents")) == ["b", "broken", "f", "lf"]


def test_links_are_copied_unless_followed(cli: Client, container: str, tmp_path: Path) -> None:
    cli("cp", "cc:/a/lf", f"{tmp_path}/").ok()
    assert os.readlink(tmp_path / "lf") == "f"
    cli("cp", "-L", "cc:/a/lf", f"{tmp_path}/followed").ok()
    assert (tmp_path / "followed").read_text() == "hi\n"
    assert not (tmp_path / "followed").is_symlink()
    (tmp_path / "lf").unlink()
    cli("cp", "-L", "cc:/a/lf", f"{tmp_path}/").ok()
    assert (tmp_path / "lf").read_text() == "hi\n"
    cli("cp", "cc:/la/", f"{tmp_path}/entered").ok()
    assert (tmp_path / "entered" / "f").exists()


def test_in_to_a_name_and_into_a_directory(cli: Client, container: str, tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "s").write_text("s")
    (tmp_path / "d" / "l").symlink_to("sub")
    (tmp_path / "f").write_text("from here")
    (tmp_path / "f").chmod(0o2640)
    os.chown(tmp_path / "f", 1234, 2345)
    (tmp_path / "f").chmod(0o2640)
    cli("cp", f"{tmp_path}/f", "cc:/a/").ok()
    cli("cp", f"{tmp_path}/f", "cc:/a/named").ok()
    assert content(cli, "/a/f") == content(cli, "/a/named") == b"from here"
    archive = cli("cp", "cc:/a/named", "-").ok().raw
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        (member,) = read.getmembers()
        assert (member.uid, member.gid, member.mode) == (1234, 2345, 0o2640)
    cli("cp", f"{tmp_path}/d", "cc:/new").ok()
    assert listing(cli, "/new") == ["new", "new/l", "new/sub", "new/sub/s"]
    cli("cp", f"{tmp_path}/d", "cc:/new").ok()
    assert "new/d/sub/s" in listing(cli, "/new")
    cli("cp", f"{tmp_path}/d/.", "cc:/a/b").ok()
    assert listing(cli, "/a/b") == ["b", "b/l", "b/sub", "b/sub/s", "b/x"]
    cli("cp", f"{tmp_path}/f", "cc:/la/through").ok()
    assert content(cli, "/a/through") == b"from here"


def test_into_volumes(cli: Client, container: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("kept")
    cli("cp", f"{tmp_path}/f", "cc:/vol/").ok()
    cli("rm", "-f", "cc").ok()
    assert cli("run", "--rm", "-v", "vol:/v", BUSYBOX, "cat", "/v/f").ok().out == "kept"


def test_streams(cli: Client, container: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("streamed")
    for compression in ("", "z", "j", "J"):
        archive = subprocess.run(["tar", f"-c{compression}", "d"], cwd=tmp_path, capture_output=True, check=True).stdout
        cli("cp", "-", f"cc:/a/b{compression and '/d'}", input=archive).ok()
        cli("cp", "-", "cc:/a/b", input=archive).ok()
    assert content(cli, "/a/b/d/f") == b"streamed"


@pytest.mark.parametrize(
    ("source", "destination", "says"),
    [
        ("cc:/a/f", "cc:/x", "copying between containers is not supported"),
        ("a", "b", "must specify at least one container source"),
        ("cc:/nope", ".", "Could not find the file /nope in container cc"),
        ("cc:/a/f/", ".", "not a directory"),
        ("cc:/proc/cpuinfo", ".", "Could not find the file /proc/cpuinfo in container cc"),
        ("cc:/a/f", "nodir/", "no such directory"),
        ("cc:/a/f", "nodir/x", "invalid output path: directory"),
        ("cc:/a", "file", "cannot copy directory"),
        ("file", "cc:/nope/", "no such directory"),
        ("file", "cc:/nope/x", "Could not find the file /nope in container cc"),
        ("directory", "cc:/a/f", "cannot copy directory"),
        ("none", "cc:/", "no such file or directory"),
        ("file/", "cc:/", "not a directory"),
        ("file", "cc:", "no such directory"),
        ("cc:", "x", "path cannot be empty"),
        ("nobody:/a", ".", "No such container: nobody"),
        ("-", "cc:/a/f", 'destination "cc:/a/f" must be a directory'),
        ("directory", "cc:/over", "cannot overwrite"),
    ],
)
def test_what_is_refused(cli: Client, container: str, tmp_path: Path, source: str, destination: str, says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    if says == "cannot overwrite":
        (tmp_path / "over").mkdir()
        (tmp_path / "over" / "directory").touch()
        cli("cp", f"{tmp_path}/over", "cc:/over").ok()
    done = cli("cp", source, destination, cwd=tmp_path)
    assert done.status == 1
    assert says in done.err
    assert sorted(os.listdir(tmp_path))[:2] == ["directory", "file"]


def test_archive_mode_gives_to_the_user_of_the_container(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    cli("create", "--name", "cc", "-u", "www-data", BUSYBOX, "true").ok()
    cli("cp", "-a", f"{tmp_path}/f", "cc:/f").ok()
    with tarfile.open(fileobj=io.BytesIO(cli("cp", "cc:/f", "-").ok().raw)) as read:
        (member,) = read.getmembers()
    assert (member.uid, member.gid) == (33, 33)


@pytest.mark.parametrize("running", [True, False])
def test_read_only(cli: Client, tmp_path: Path, running: bool) -> None:
    (tmp_path / "f").write_text("x")
    options = ["--read-only", "-v", "/rw", "-v", f"{tmp_path}:/ro:ro", "--tmpfs", "/memory"]
    cli("create", "--name", "cc", *options, BUSYBOX, "sleep", "100").ok()
    if running:
        cli("start", "cc").ok()
    done = cli("cp", f"{tmp_path}/f", "cc:/etc/f")
    assert (done.status, "container rootfs is marked read-only" in done.err) == (1, True), done.err
    done = cli("cp", f"{tmp_path}/f", "cc:/ro/g")
    assert (done.status, "mounted volume is marked read-only" in done.err) == (1, True), done.err
    cli("cp", f"{tmp_path}/f", "cc:/rw/f").ok()
    assert content(cli, "/rw/f") == b"x"
    assert not (tmp_path / "g").exists()
    if running:
        cli("cp", f"{tmp_path}/f", "cc:/memory/f").ok()
        assert cli("exec", "cc", "cat", "/memory/f").ok().out == "x"


def test_no_part_of_a_file_is_left_on_a_full_disk(engine: Engine, tmp_path: Path) -> None:
    engine.docker(
        "run", "--name", "cc", BUSYBOX, "sh", "-c", "mkdir /d; echo x > /d/a; head -c 3m /dev/zero > /d/b"
    ).ok()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        done = engine.darse("cp", "cc:/d/.", str(tmp_path))
        assert done.status == 1
        assert f"{tmp_path}/b: no space left on device: what was written of it is removed" in done.err
        assert os.listdir(tmp_path) == ["a"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_special_files_and_attributes_arrive(cli: Client) -> None:
    """What an archive can hold: devices, fifos, hard links, sparse files, long names, attributes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as made:

        def add(name: str, kind: bytes, data: bytes = b"", **attributes: object) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(data)
            for key, value in attributes.items():
                setattr(member, key, value)
            made.addfile(member, io.BytesIO(data))

        add("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        add("fifo", tarfile.FIFOTYPE, mode=0o600)
        add("file", tarfile.REGTYPE, b"data", uid=3_000_000, pax_headers={"SCHILY.xattr.user.note": "kept"})
        add("second", tarfile.LNKTYPE, linkname="file")
        add("n" * 250, tarfile.REGTYPE, b"long")
        sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10 << 30)}
        add("sparse", tarfile.REGTYPE, b"0\n".ljust(512, b"\0"), pax_headers=sparse)
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    cli("exec", "cc", "mkdir", "/t").ok()
    cli("cp", "-", "cc:/t", input=archive.getvalue()).ok()
    shown = cli("exec", "cc", "sh", "-c", "cd /t; stat -c '%n %F %t,%T %u %h %s' *; du -k sparse; cat null").ok().out
    lines = shown.splitlines()
    assert "null character special file 1,3 0 1 0" in lines
    assert any(line.startswith("fifo fifo") for line in lines)
    assert "file regular file 0,0 3000000 2 4" in lines
    assert any(line.startswith(f"{'n' * 250} regular file") for line in lines)
    assert f"sparse regular file 0,0 0 1 {10 << 30}" in lines
    assert int(next(line for line in lines if line.endswith("\tsparse")).split()[0]) < 100
    with tarfile.open(fileobj=io.BytesIO(cli("cp", "cc:/t/file", "-").ok().raw)) as read:
        assert read.getmembers()[0].pax_headers["SCHILY.xattr.user.note"] == "kept"


def test_the_kernels_directories_are_empty(cli: Client, tmp_path: Path) -> None:
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    cli("cp", "cc:/", f"{tmp_path}/all").ok()
    assert os.listdir(tmp_path / "all" / "proc") == os.listdir(tmp_path / "all" / "dev") == []
    assert (tmp_path / "all" / "etc" / "passwd").exists()


def test_progress_on_a_terminal(cli: Client, tmp_path: Path) -> None:
    cli.needs(24, "the progress of cp")
    cli("create", "--name", "cc", BUSYBOX, "true").ok()
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    terminal = cli.terminal("cp", f"{tmp_path}/f", "cc:/f")
    terminal.expect(r"Successfully copied 102kB to cc:/f\r\n")
    terminal.expect(pexpect.EOF)
    terminal = cli.terminal("cp", "-q", "cc:/f", f"{tmp_path}/g")
    terminal.expect(pexpect.EOF)
    assert b"Successfully" not in terminal.before


def test_export_has_the_containers_own_files_only(cli: Client, tmp_path: Path) -> None:
    cli("run", "-d", "--name", "cc", "-v", "vol:/vol", "--tmpfs", "/memory", BUSYBOX, "sleep", "1000").ok()
    cli("exec", "cc", "sh", "-c", "echo own > /own; touch /vol/no /memory/no").ok()
    running = cli("export", "cc").ok().raw
    cli("stop", "-t", "0", "cc").ok()
    cli("export", "-o", f"{tmp_path}/e.tar", "cc").ok()
    for archive in (running, (tmp_path / "e.tar").read_bytes()):
        with tarfile.open(fileobj=io.BytesIO(archive)) as read:
            names = read.getnames()
        assert {"own", "vol", "memory", "proc", "bin/busybox"} <= set(names)
        assert not any(name.endswith("/no") or name.startswith("proc/") for name in names)
    cli("import", f"{tmp_path}/e.tar", "exported").ok()
    assert cli("run", "--rm", "exported", "cat", "/own").ok().out == "own\n"
    assert cli("export", "nobody").status == 1
    assert cli("export", "-o", f"{tmp_path}/none/e", "cc").status == 1


def test_events_and_copies_of_a_paused_container(cli: Client, tmp_path: Path) -> None:
    cli("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    cli("pause", "cc").ok()
    cli("cp", "cc:/etc/passwd", f"{tmp_path}/p").ok()
    cli("cp", f"{tmp_path}/p", "cc:/p").ok()
    cli("export", "-o", f"{tmp_path}/e", "cc").ok()
    until = str(int(time.time()) + 1)  # docker's client counts in whole seconds
    shown = (
        cli("events", "--since", "1m", "--until", until, "--format", "{{.Action}}", "--filter", "container=cc").ok().out
    )
    assert {"archive-path", "extract-to-dir", "export"} <= set(shown.split())
