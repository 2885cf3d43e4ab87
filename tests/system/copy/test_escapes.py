"""Known ways out of a container through `cp`, tried: each test is named after what it reproduces.

A container swaps what is at a path as fast as it can, while archives come and go; marks on the host must neither be
read nor changed.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine

_ROUNDS = 60
# By renames, about a thousand times a second: `at` is now a directory, now a link to the host's.
_SWAP = """
mkdir -p /w/real; echo inside > /w/real/mark; ln -s {outside} /w/trap; touch /w/ready
while :; do
  mv /w/real /w/at; mv /w/at /w/real; mv /w/trap /w/at; mv /w/at /w/trap
done
"""


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host's with a mark in it, at a path that no container has."""
    directory = Path(f"/var/tmp/outside-{uuid.uuid4().hex}")
    directory.mkdir()
    (directory / "mark").write_text("of the host")
    yield directory
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def swapping(engine: Engine, outside: Path, *options: str) -> None:
    """A container that swaps `/w/at`."""
    script = _SWAP.format(outside=outside)
    engine.docker("run", "-d", "--name", "swap", *options, BUSYBOX, "sh", "-c", script).ok()
    engine.docker("exec", "swap", "sh", "-c", "until test -e /w/ready; do :; done").ok()


def archive_of(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        made.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_symlink_swap_during_cp_from_a_container_cve_2018_15664(engine: Engine, outside: Path, tell) -> None:
    swapping(engine, outside)
    seen = {200: 0, 404: 0, 400: 0}
    for _ in range(_ROUNDS):
        for path in ("/w/at/mark", "/w/at/."):
            answer = engine.api("GET", f"/containers/swap/archive?path={path}")
            assert answer.status in seen, (answer.status, answer.body)
            seen[answer.status] += 1
            assert b"of the host" not in answer.body
    tell(f"cp out of a container that swaps links: {seen}")
    assert seen[200], "no copy met the directory"


def test_symlink_swap_during_cp_into_a_container_cve_2018_15664(engine: Engine, outside: Path, tell) -> None:
    swapping(engine, outside)
    seen: dict[int, int] = {}
    for _ in range(_ROUNDS):
        for path, name in (("/w/at", "mark"), ("/w", "at/mark"), ("/w", "at/new/deeper")):
            query = f"/containers/swap/archive?path={path}"
            answer = engine.api("PUT", query, archive_of(name, b"from the client"))
            seen[answer.status] = seen.get(answer.status, 0) + 1
            assert answer.status in (200, 400, 404), (answer.status, answer.body)
    tell(f"cp into a container that swaps links: {seen}")
    assert seen.get(200), "no copy met the directory"
    assert (outside / "mark").read_text() == "of the host"
    assert [path.name for path in outside.iterdir()] == ["mark"]


def test_no_program_or_library_of_the_container_is_loaded_cve_2019_14271(engine: Engine, tmp_path: Path) -> None:
    """The container holds a file where anything could be loaded from; what is opened of it is the container's to see.

    Python, libraries and locale files are replaced by fifos: whoever opened one would wait for ever.
    """
    paths = {
        "/lib/x86_64-linux-gnu/libnss_files.so.2",
        "/etc/nsswitch.conf",
        "/etc/ld.so.cache",
        "/usr/lib/locale/C.utf8",
    }
    paths |= {str(Path(os.__file__)), str(Path(os.__file__).with_name("encodings") / "idna.py")}
    source = Path(__file__).resolve().parents[3] / "src" / "darse"
    paths |= {str(source / "runtime" / "tree_worker.py"), str(source / "archive" / "merge.py")}
    script = "; ".join(f"mkdir -p {os.path.dirname(path)}; rm -f {path}; mkfifo {path}" for path in sorted(paths))
    engine.docker("run", "-d", "--name", "trap", BUSYBOX, "sh", "-c", f"{script}; touch /ready; exec sleep 1000").ok()
    engine.docker("exec", "trap", "sh", "-c", "until test -e /ready; do :; done").ok()
    (tmp_path / "f").write_text("x")
    engine.docker("cp", "-a", f"{tmp_path}/f", "trap:/f", timeout=20).ok()
    engine.docker("cp", "trap:/f", "-", timeout=20).ok()
    # Failures too: the interpreter would look for sources.
    assert engine.api("PUT", "/containers/trap/archive?path=/", b"x" * 600, timeout=20).status == 400
    assert engine.api("GET", "/containers/trap/archive?path=/none", timeout=20).status == 404


@pytest.mark.parametrize("path", ["/out/etc/hostname", "/proc/1/root/etc/hostname", "/self/root/etc/hostname"])
def test_links_of_proc_lead_nowhere_cve_2019_19921(engine: Engine, path: str) -> None:
    """With the host's processes in sight, /proc/1/root is the host's root to whoever may follow it."""
    engine.docker("run", "-d", "--name", "proc", "--pid=host", BUSYBOX, "sleep", "1000").ok()
    engine.docker("exec", "proc", "sh", "-c", "ln -s /proc/1/root /out; ln -s /proc/self /self").ok()
    for running in (True, False):
        answer = engine.api("GET", f"/containers/proc/archive?path={path}")
        assert answer.status == 404, answer
        directory, name = os.path.split(path)
        answer = engine.api("PUT", f"/containers/proc/archive?path={directory}", archive_of(name, b"x"))
        assert answer.status == 404, answer
        answer = engine.api("PUT", "/containers/proc/archive?path=/", archive_of(path.lstrip("/"), b"x"))
        # In a container that does not run, /proc is a directory like others.
        assert answer.status in ((400, 403, 404) if running else (200, 400, 404)), answer
        if running:
            engine.docker("stop", "-t", "0", "proc").ok()
    with open("/etc/hostname", "rb") as file:
        assert file.read() != b"x"


def test_a_hostile_archive_reaches_nothing_outside(engine: Engine, outside: Path) -> None:
    """Links that the archive brings itself are followed within the container at most."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        made.addfile(link)
        up = tarfile.TarInfo("up")
        up.type, up.linkname = tarfile.SYMTYPE, "../" * 30 + str(outside)
        made.addfile(up)
    for running in (True, False):
        engine.docker("run", "-d", "--name", f"victim{running}", BUSYBOX, "sleep", "1000").ok()
        if not running:
            engine.docker("stop", "-t", "0", "victimFalse").ok()
        url = f"/containers/victim{running}/archive?path=/tmp"
        engine.docker("cp", "-", f"victim{running}:/", input=file.getvalue()).ok()
        for name in ("link/mark", "up/mark", "link/new"):
            engine.api("PUT", url.replace("/tmp", "/"), archive_of(name, b"x"))
        for name in ("../mark", "a/../../mark"):
            answer = engine.api("PUT", url.replace("/tmp", "/etc"), archive_of(name, b"x"))
            assert answer.status == 400
            assert "outside of the destination" in answer.message
        hard = io.BytesIO()
        with tarfile.open(fileobj=hard, mode="w") as made:
            member = tarfile.TarInfo("hard")
            member.type, member.linkname = tarfile.LNKTYPE, "link/mark"
            made.addfile(member)
        engine.api("PUT", url.replace("/tmp", "/"), hard.getvalue())
        assert (outside / "mark").read_text() == "of the host"
        assert (outside / "mark").stat().st_nlink == 1
        assert [path.name for path in outside.iterdir()] == ["mark"]


def test_the_worker_ends_with_its_client(engine: Engine) -> None:
    """A client that goes in the middle of a copy leaves no process, and a copy does not keep a container."""
    from tests.support.waiting import wait_while

    def workers() -> list[str]:
        found = subprocess.run(["pgrep", "-P", str(engine.pid), "-f", "tree_worker"], capture_output=True, check=False)
        return found.stdout.decode().split()

    engine.docker("run", "-d", "--name", "big", BUSYBOX, "sh", "-c", "truncate -s 20G /big; exec sleep 1000").ok()
    engine.docker("exec", "big", "sh", "-c", "until test -s /big; do :; done").ok()
    for arguments in (("cp", "big:/big", "-"), ("cp", "-", "big:/tmp")):
        client = engine.docker.popen(*arguments)
        if arguments[1] == "-":
            assert client.stdin is not None
            client.stdin.write(archive_of("x", b"y" * 1000)[:600])
            client.stdin.flush()
        else:
            assert client.stdout is not None
            client.stdout.read(1000)
        client.kill()
        client.communicate()
        wait_while(workers, 10, f"the worker of {arguments}")
    copy = engine.docker.popen("cp", "big:/big", "-")
    assert copy.stdout is not None
    copy.stdout.read(1000)
    engine.docker("rm", "-f", "big").ok()
    copy.communicate(timeout=30)
    wait_while(workers, 10, "the worker of a removed container")


def test_symlink_swap_while_a_directory_is_listed(engine: Engine, outside: Path, tell) -> None:
    """`/darse/containers/{id}/files` shows what is in the container, or refuses."""
    (outside / "only-on-the-host").touch()
    swapping(engine, outside)
    seen = {200: 0, 404: 0, 400: 0}
    for _ in range(_ROUNDS):
        answer = engine.api("GET", "/darse/containers/swap/files?path=/w/at/.")
        seen[answer.status] += 1
        if answer.status == 200:
            assert {one["name"] for one in answer.json()["entries"]} <= {"mark"}
    tell(f"listing while a link is swapped: {seen}")
    assert seen[200]
