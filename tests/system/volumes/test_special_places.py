"""Mounts where the engine or the runtime mounts something itself: what is asked for takes its place, as in docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.crafted import crafted_image
from tests.support.engine import BUSYBOX, Client


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().out


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
def test_a_file_over_one_that_the_engine_writes(cli: Client, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine\n")
    flags = ("--add-host", "other:1.2.3.4", "--dns", "1.1.1.1", "-h", "named")
    assert shell(cli, f"cat /etc/{name}", *flags, "-v", f"{mine}:/etc/{name}") == "mine\n"
    mount = f"type=bind,source={mine},target=/etc/{name},readonly"
    shown = shell(cli, f"cat /etc/{name}; echo x 2>/dev/null >/etc/{name} || echo kept", *flags, "--mount", mount)
    assert shown == "mine\nkept\n"
    # What is written goes to the file that was given, and nowhere else.
    shell(cli, f"echo theirs > /etc/{name}", *flags, "-v", f"{mine}:/etc/{name}")
    assert mine.read_text() == "theirs\n"


def test_a_directory_over_all_of_them(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    listed = shell(cli, "ls /etc; grep -c named /etc/hosts", "-h", "named", "-v", f"{tmp_path}:/etc").split()
    assert listed == ["hostname", "hosts", "passwd", "resolv.conf", "1"]


def test_shared_memory(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    assert shell(cli, "ls /dev/shm; touch /dev/shm/new", "-v", f"{tmp_path}:/dev/shm") == "kept\n"
    assert (tmp_path / "new").exists()
    shell(cli, "echo data > /dev/shm/file", "-v", "memory:/dev/shm")
    assert shell(cli, "cat /dev/shm/file; test -c /dev/null", "-v", "memory:/dev/shm") == "data\n"
    size = "df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert shell(cli, size, "--tmpfs", "/dev/shm:size=1m", "--shm-size", "16m") == "1024\n"


def test_shared_memory_as_the_image_s_volume(cli: Client) -> None:
    cli("load", input=crafted_image("volumes.test/shm", {"Volumes": {"/dev/shm": {}}})).ok()
    try:
        cli("create", "--name", "holder", "volumes.test/shm", "sh", "-c", "grep -c ' /dev/shm ext4' /proc/mounts").ok()
        assert cli("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}}{{end}}", "holder").line == (
            "volume /dev/shm"
        )
        cli("start", "-a", "holder").ok()
        assert cli("diff", "holder").ok()
    finally:
        cli("rm", "-fv", "holder")
        cli("rmi", "volumes.test/shm").ok()


def test_all_of_dev(cli: Client, tmp_path: Path) -> None:
    """The host's is taken as it is. One without /dev/null is refused: with that the runtime masks paths."""
    assert "shm" in shell(cli, "ls /dev; test -c /dev/null", "-v", "/dev:/dev")
    for source in (str(tmp_path), "devices"):
        refused = cli("run", "--rm", "-v", f"{source}:/dev", BUSYBOX, "true")
        assert refused.status == 125
        assert "/dev/null: No such file or directory" in refused.err
    assert cli("ps", "-aq").line == ""


@pytest.mark.parametrize("place", ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1/root/x"])
def test_proc_is_nobody_s_place(cli: Client, place: str) -> None:
    for flags in (("-v", f"vol:{place}"), ("--tmpfs", place), ("--mount", f"type=tmpfs,dst={place}")):
        done = cli("run", "--rm", *flags, BUSYBOX, "true")
        assert done.status == 125
        assert "cannot be mounted because it is" in done.err, done.err


def test_sys_and_its_cgroups(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    assert shell(cli, "ls /sys/fs/cgroup", "-v", f"{tmp_path}:/sys/fs/cgroup") == "kept\n"
    assert shell(cli, "ls /sys/firmware", "--tmpfs", "/sys/firmware", "--security-opt", "systempaths=unconfined") == ""
