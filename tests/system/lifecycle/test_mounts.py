"""-v, --mount, --tmpfs, --volumes-from and the volume commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().line


def test_bind_mount(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("from the host")
    assert shell(cli, "cat /m/there; echo back > /m/back", "-v", f"{tmp_path}:/m") == "from the host"
    assert (tmp_path / "back").read_text() == "back\n"


def test_bind_mount_of_a_file(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one file")
    assert shell(cli, "cat /etc/deep/one", "-v", f"{tmp_path}/one:/etc/deep/one:ro") == "one file"


def test_read_only_bind(cli: Client, tmp_path: Path) -> None:
    done = cli("run", "--rm", "-v", f"{tmp_path}:/m:ro", BUSYBOX, "touch", "/m/file")
    assert done.status == 1
    assert "Read-only file system" in done.err


def test_v_makes_a_missing_source_and_mount_does_not(cli: Client, tmp_path: Path) -> None:
    shell(cli, "true", "-v", f"{tmp_path}/made:/m")
    assert (tmp_path / "made").is_dir()
    done = cli("run", "--rm", "--mount", f"type=bind,source={tmp_path}/missing,target=/m", BUSYBOX, "true")
    assert done.status == 125
    assert "bind source path does not exist" in done.err


def test_propagation(cli: Client, tmp_path: Path) -> None:
    line = shell(cli, "grep ' /m ' /proc/self/mountinfo", "--mount", f"type=bind,src={tmp_path},dst=/m")
    assert "shared:" not in line


def test_named_volume_keeps_its_data(cli: Client) -> None:
    assert shell(cli, "echo kept > /data/file", "-v", "named:/data") == ""
    assert shell(cli, "cat /other/file", "-v", "named:/other") == "kept"
    assert cli("volume", "ls", "-q").ok().line == "named"


def test_volume_is_filled_from_the_image(cli: Client) -> None:
    assert "passwd" in shell(cli, "ls /etc", "-v", "filled:/etc")
    assert "passwd" in shell(cli, "ls /v", "-v", "filled:/v")
    assert "passwd" not in shell(cli, "ls /etc", "--mount", "type=volume,src=empty,dst=/etc,volume-nocopy")


def test_copied_files_keep_owner_and_mode(cli: Client, engine: Engine, tmp_path: Path) -> None:
    cli(
        "run",
        "--name",
        "maker",
        BUSYBOX,
        "sh",
        "-c",
        "mkdir /d; chmod 1777 /d; echo x >/d/f; chown 33:100 /d/f; chmod 640 /d/f",
    ).ok()
    # A volume is filled from the image, not from the container's own layer: so make an image of that.
    exported = engine.api("GET", "/containers/maker/export")
    if exported.status != 200:
        pytest.skip("the engine cannot export containers yet")
    cli("import", "-", "made:latest", input=exported.body).ok()
    out = cli("run", "--rm", "-v", "modes:/d", "made", "stat", "-c", "%a %u %g", "/d", "/d/f").ok().out
    assert out.split("\n")[:2] == ["1777 0 0", "640 33 100"]


def test_anonymous_volume(cli: Client) -> None:
    cli("run", "--name", "anon", "-v", "/data", BUSYBOX, "true").ok()
    (mount,) = json.loads(cli("inspect", "-f", "{{json .Mounts}}", "anon").ok().out)
    assert (mount["Type"], mount["Destination"], mount["RW"]) == ("volume", "/data", True)
    assert len(mount["Name"]) == 64


def test_anonymous_volume_goes_with_rm(cli: Client) -> None:
    shell(cli, "true", "-v", "/data")
    assert cli("volume", "ls", "-q").ok().line == ""


def test_tmpfs(cli: Client) -> None:
    line = shell(cli, "grep ' /t ' /proc/mounts", "--tmpfs", "/t:size=1m,mode=700")
    assert line.startswith("tmpfs /t tmpfs")
    assert "size=1024k" in line
    assert "noexec" in line
    line = shell(cli, "grep ' /t ' /proc/mounts", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1048576,tmpfs-mode=1770")
    assert "mode=1770" in line


def test_volumes_from(cli: Client, tmp_path: Path) -> None:
    cli(
        "run", "--name", "first", "-v", "shared:/one", "-v", f"{tmp_path}:/two", BUSYBOX, "sh", "-c", "echo a > /one/f"
    ).ok()
    assert shell(cli, "cat /one/f; touch /two/g && echo written", "--volumes-from", "first").split() == ["a", "written"]
    done = cli("run", "--rm", "--volumes-from", "first:ro", BUSYBOX, "touch", "/one/g")
    assert done.status == 1


def test_volume_subpath(cli: Client) -> None:
    cli.needs(26, "volume-subpath")
    shell(cli, "mkdir -p /v/a/b; echo deep > /v/a/b/f", "-v", "tree:/v")
    assert shell(cli, "cat /m/f", "--mount", "type=volume,src=tree,dst=/m,volume-subpath=a/b") == "deep"
    shell(cli, "ln -s /etc /v/out", "-v", "tree:/v")
    done = cli("run", "--rm", "--mount", "type=volume,src=tree,dst=/m,volume-subpath=out", BUSYBOX, "cat", "/m/shadow")
    assert done.status == 125


def test_mount_order_does_not_hide(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    script = "touch /a/b/c/f && ls /a/b/c"
    assert shell(cli, script, "-v", f"{tmp_path}/inner:/a/b/c", "-v", f"{tmp_path}:/a") == "f"


def test_duplicate_mount_points(cli: Client, tmp_path: Path) -> None:
    done = cli("run", "--rm", "-v", f"{tmp_path}:/m", "-v", "named:/m", BUSYBOX, "true")
    assert done.status == 125
    assert "Duplicate mount point: /m" in done.err


def test_volume_commands(cli: Client) -> None:
    assert cli("volume", "create", "--label", "a=b", "mine").ok().line == "mine"
    assert cli("volume", "create", "mine").ok().line == "mine"
    (volume,) = json.loads(cli("volume", "inspect", "mine").ok().out)
    assert (volume["Driver"], volume["Labels"], volume["Scope"]) == ("local", {"a": "b"}, "local")
    assert os.path.isdir(volume["Mountpoint"])
    assert cli("volume", "ls", "-q", "--filter", "label=a=b").ok().line == "mine"
    assert cli("volume", "ls", "-q", "--filter", "name=other").ok().line == ""
    cli("run", "-d", "--name", "user", "-v", "mine:/m", BUSYBOX, "sleep", "100").ok()
    done = cli("volume", "rm", "mine")
    assert done.status == 1
    assert "volume is in use" in done.err
    cli("rm", "-f", "user").ok()
    assert cli("volume", "rm", "mine").ok().line == "mine"
    done = cli("volume", "inspect", "mine")
    assert done.status == 1
    assert "no such volume" in done.err.lower()


def test_volume_with_tmpfs_options(cli: Client) -> None:
    cli(
        "volume",
        "create",
        "--driver",
        "local",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "--opt",
        "o=size=1m",
        "my_tmpfs",
    ).ok()
    assert "size=1024k" in shell(cli, "grep ' /t ' /proc/mounts", "-v", "my_tmpfs:/t")


def test_volume_prune(cli: Client) -> None:
    cli.needs(23, "volume prune --all")
    cli("volume", "create", "named").ok()
    cli("volume", "create").ok()
    cli("volume", "prune", "-f").ok()
    assert cli("volume", "ls", "-q").ok().line == "named"
    cli("volume", "prune", "-af").ok()
    assert cli("volume", "ls", "-q").ok().line == ""


def test_a_link_where_a_mount_goes_stays_in_the_container(cli: Client, engine: Engine, tmp_path: Path) -> None:
    """The link is followed inside the container's root; the host's directory of that name is not touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    cli("create", "--name", "linked", "-v", "data:/link/below", BUSYBOX, "true").ok()
    upper = engine.data_root / "snapshots" / cli("ps", "-aq", "--no-trunc").ok().line / "upper"
    (upper / "link").symlink_to(outside)
    cli("start", "-a", "linked")
    assert list(outside.iterdir()) == []
