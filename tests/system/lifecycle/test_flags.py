"""What flags of `run` and `create` do in the end, one by one, with both commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.crafted import crafted_image
from tests.support.engine import BUSYBOX, Client, Engine

from darse.runtime.oci.spec import MASKED_PATHS, READONLY_PATHS
from darse.runtime.sysinfo import find_thermal_counters


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().out


def inspected(cli: Client, name: str) -> Any:
    return json.loads(cli("inspect", name).ok().out)[0]


def test_volumes_from_several_and_a_mount_over_one(cli: Client, tmp_path: Path) -> None:
    cli("create", "--name", "one", "-v", "/anonymous", "-v", "data:/data", "-v", f"{tmp_path}:/host:ro", BUSYBOX).ok()
    cli("create", "--name", "two", "--mount", "type=volume,src=other,dst=/data", "-v", "/more", BUSYBOX).ok()
    shell(cli, "echo one > /data/file; echo anonymous > /anonymous/file", "--volumes-from", "one")
    shell(cli, "echo two > /data/file", "--volumes-from", "two")
    # Of what two containers have at one place, the last one's is shown; what is asked for goes over both.
    assert shell(
        cli, "cat /anonymous/file /data/file; ls -d /more", "--volumes-from", "one", "--volumes-from", "two"
    ) == ("anonymous\ntwo\n/more\n")
    flags = ("--volumes-from", "two", "--volumes-from", "one", "-v", "other:/data")
    assert shell(cli, "cat /anonymous/file /data/file", *flags) == "anonymous\ntwo\n"
    assert "Read-only" in shell(cli, "touch /host/x 2>&1; true", "--volumes-from", "one:rw")
    cli("create", "--name", "three", "--volumes-from", "one:ro", BUSYBOX).ok()
    modes = {mount["Destination"]: mount["RW"] for mount in inspected(cli, "three")["Mounts"]}
    assert modes == {"/anonymous": False, "/data": False, "/host": False}
    cli("create", "--name", "four", "--volumes-from", "one:z", BUSYBOX).ok()
    assert {mount["Destination"]: mount["RW"] for mount in inspected(cli, "four")["Mounts"]}["/data"] is True
    # The anonymous volume is its first container's: it stays when another goes, and goes with the last.
    cli("rm", "-v", "three", "four").ok()
    assert shell(cli, "cat /anonymous/file", "--volumes-from", "one") == "anonymous\n"
    cli("rm", "-v", "one", "two").ok()
    assert cli("volume", "ls", "-q").out.split() == ["data", "other"]
    assert "No such container: nobody" in cli("create", "--volumes-from", "nobody", BUSYBOX).err
    assert cli("create", "--volumes-from", "nobody:bad", BUSYBOX).status == 1


def test_a_cidfile_is_there_with_the_container_only(cli: Client, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    assert cli("create", "--cidfile", str(file), "-m", "1k", BUSYBOX).status == 1
    assert not file.exists()
    made = cli("create", "--cidfile", str(file), BUSYBOX).ok().line
    assert file.read_text() == made
    taken = cli("create", "--cidfile", str(file), BUSYBOX)
    assert (taken.status, "container ID file found, make sure the other container isn't running" in taken.err) == (
        1,
        True,
    )
    assert cli("run", "--cidfile", str(file), BUSYBOX).status == 125
    assert cli("run", "--cidfile", "/nowhere/cid", BUSYBOX).status == 127


def test_environment_of_flags_files_and_image(cli: Client, tmp_path: Path) -> None:
    image = "flags.test/env"
    cli("load", input=crafted_image(image, {"Env": ["PATH=/bin", "KEPT=image", "GONE=image", "BOTH=image"]})).ok()
    (tmp_path / "env").write_text('# none\n\n  LEFT=x y\nBOTH=file\nQUOTED="q"\nHERE\nEMPTY=\nEQUAL=a=b # c\n')
    flags = ("--env-file", str(tmp_path / "env"), "-e", "GONE", "-e", "BOTH=flag", "-e", "HERE")
    try:
        done = cli("run", "--rm", *flags, image, "sh", "-c", "set", env={"HERE": "client"}).ok()
    finally:
        cli("rmi", "-f", image).ok()
    found = dict(re.findall(r"(?m)^([A-Z]+)='(.*)'$", done.out))
    assert {name: found.get(name) for name in ("KEPT", "LEFT", "QUOTED", "EMPTY", "EQUAL", "HERE", "BOTH", "GONE")} == {
        **{"KEPT": "image", "LEFT": "x y", "QUOTED": '"q"', "EMPTY": "", "EQUAL": "a=b # c"},
        **{"HERE": "client", "BOTH": "flag", "GONE": None},
    }


def test_labels_and_annotations(cli: Client, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("from=file\nboth=file\n# none\nbare\n")
    flags = ("--label-file", str(tmp_path / "labels"), "--label", "both=flag", "--label", "empty")
    cli("run", "-d", "--name", "labelled", *flags, "--annotation", "harbour.test/dock=7", BUSYBOX, "sleep", "100").ok()
    container = inspected(cli, "labelled")
    own = {"org.darse.builtin": "true"}  # the image's
    assert container["Config"]["Labels"] == {"from": "file", "both": "flag", "empty": "", **own}
    assert container["HostConfig"]["Annotations"] == {"harbour.test/dock": "7"}
    spec = engine.exec_root / "bundles" / container["Id"] / "config.json"
    assert json.loads(spec.read_text())["annotations"]["harbour.test/dock"] == "7"


def test_inspect_shows_what_is_masked_and_read_only(cli: Client) -> None:
    """The counters of temperature too, which are per processor, and nothing for a privileged container."""
    cli("create", "--name", "masks", BUSYBOX).ok()
    host = inspected(cli, "masks")["HostConfig"]
    counters = find_thermal_counters(Path("/sys/devices/system/cpu"))
    assert host["MaskedPaths"] == [*MASKED_PATHS, *counters]
    assert host["ReadonlyPaths"] == list(READONLY_PATHS)
    cli("create", "--name", "sees", "--privileged", BUSYBOX).ok()
    host = inspected(cli, "sees")["HostConfig"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == (None, None)


def test_what_is_masked_can_be_shown(cli: Client) -> None:
    masked = "head -c 1 /proc/kcore | wc -c; echo x 2>/dev/null >/proc/sys/vm/overcommit_ratio || echo kept"
    assert shell(cli, masked) == "0\nkept\n"
    cli("create", "--name", "open", "--security-opt", "systempaths=unconfined", BUSYBOX).ok()
    host = inspected(cli, "open")["HostConfig"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == ([], [])
    assert shell(cli, "grep -c ' /proc/' /proc/mounts; true", "--security-opt", "systempaths=unconfined") == "0\n"


def test_pull(cli: Client) -> None:
    absent = "localhost:1/no/such:image"
    never = cli("run", "--rm", "--pull", "never", absent, "true")
    assert (never.status, f"No such image: {absent}" in never.err) == (125, True), never.err
    missing = cli("run", "--rm", "--pull", "missing", absent, "true")
    assert (missing.status, f"Unable to find image '{absent}' locally" in missing.err) == (125, True)
    # `always` asks the registry, whatever is here.
    assert cli("tag", BUSYBOX, absent).status == 0
    always = cli("run", "--rm", "--pull", "always", absent, "true")
    assert cli("run", "--rm", "--pull", "missing", absent, "echo", "here").out == "here\n"
    cli("rmi", absent).ok()
    assert (always.status, "Unable to find image" in always.err) == (125, False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--storage-opt size=10G", "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
        ("--storage-opt nonsense=1", "--storage-opt is supported only for overlay over xfs"),
        ("--isolation hyperv", "invalid isolation"),
        ("--gpus all", 'could not select device driver "" with capabilities: [[gpu]]'),
        ("--ulimit nofile=5:-1 --runtime nobody", "unknown or invalid runtime name: nobody"),
        ("--cgroup-parent ../up", "invalid cgroup parent"),
        ("--stop-signal NOPE", "nvalid signal: NOPE"),
        ("--sysctl net.core.somaxconn=1 --network host", "not allowed"),
    ],
)
def test_what_the_engine_refuses(cli: Client, flags: str, said: str) -> None:
    done = cli("run", "--rm", *flags.split(), BUSYBOX, "true")
    assert done.status == 125
    assert said.lower() in done.err.lower(), done.err
    assert cli("ps", "-aq").line == ""


def test_isolation_of_the_platform(cli: Client) -> None:
    assert shell(cli, "echo there", "--isolation", "default") == "there\n"


def test_the_engine_s_socket_and_the_user_s_credentials(engine: Engine, tmp_path: Path) -> None:
    """`--use-api-socket`, which docker's client has as an experiment."""
    auths = {"auths": {"registry.test": {"auth": "dXNlcjpwYXNz"}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    darse = Client(engine.darse.program, engine.host, tmp_path)
    script = "test -S /var/run/docker.sock; stat -c %a $DOCKER_CONFIG/config.json; cat $DOCKER_CONFIG/config.json"
    said = darse("run", "--rm", "--use-api-socket", BUSYBOX, "sh", "-ec", script).ok().out
    mode, document = said.split("\n", 1)
    assert (mode, json.loads(document)) == ("600", auths)


def test_link_local_addresses_and_priorities(cli: Client) -> None:
    cli.needs(28, "gw-priority")
    cli("network", "create", "first").ok()
    cli("network", "create", "second").ok()
    flags = ("--network", "name=first,alias=a", "--network", "name=second,alias=b,gw-priority=9")
    cli("create", "--name", "both", *flags, BUSYBOX).ok()
    networks = inspected(cli, "both")["NetworkSettings"]["Networks"]
    assert (networks["first"]["Aliases"], networks["second"]["GwPriority"]) == (["a"], 9)
