"""`--userns-remap`: root in a container is nobody on the host, and everything else works as without."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until
from tests.system.security.conftest import COUNT, FIRST, DefaultRemappingEngine, RemappingEngine, ShiftingEngine


def shell(client: Client, script: str, *options: str) -> str:
    return client("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().line


def pid_of(client: Client, name: str) -> int:
    return int(client("inspect", "-f", "{{.State.Pid}}", name).ok().line)


def sleeper(client: Client, name: str, *options: str) -> int:
    client("run", "-d", "--name", name, *options, BUSYBOX, "sleep", "1000").ok()
    return pid_of(client, name)


def test_root_inside_is_nobody_outside(remapped: Client) -> None:
    pid = sleeper(remapped, "cc")
    assert remapped("exec", "cc", "cat", "/proc/self/uid_map").ok().line.split() == ["0", str(FIRST), str(COUNT)]
    assert remapped("exec", "cc", "cat", "/proc/self/gid_map").ok().line.split() == ["0", str(FIRST), str(COUNT)]
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST
    assert remapped("exec", "cc", "id", "-u").ok().line == "0"


def test_each_container_has_a_namespace_of_its_own(remapped: Client) -> None:
    one, two = sleeper(remapped, "one"), sleeper(remapped, "two")
    assert Path(f"/proc/{one}/ns/user").readlink() != Path(f"/proc/{two}/ns/user").readlink()


def test_info_says_so(remapped: Client) -> None:
    options = json.loads(remapped("info", "-f", "{{json .SecurityOptions}}").ok().out)
    assert "name=userns" in options


def test_files_of_the_image_are_roots_and_what_the_disk_has_suits_the_file_system(
    remapped: Client, remapping: RemappingEngine
) -> None:
    script = "stat -c %u:%g /bin/busybox /etc /dev /tmp; touch /new; chown 33:33 /etc/passwd; stat -c %u /new"
    assert shell(remapped, script, "--name", "cc").split() == ["0:0"] * 4 + ["0"]
    remapped("create", "--name", "kept", BUSYBOX, "sh", "-c", "touch /new; chown 33:34 /etc/passwd").ok()
    remapped("start", "-a", "kept").ok()
    upper = Path(json.loads(remapped("inspect", "kept").ok().out)[0]["GraphDriver"]["Data"]["UpperDir"])
    first = FIRST if isinstance(remapping, ShiftingEngine) else 0
    assert (upper / "new").stat().st_uid == first
    assert ((upper / "etc/passwd").stat().st_uid, (upper / "etc/passwd").stat().st_gid) == (first + 33, first + 34)


def test_a_mounted_image_is_roots(remapped: Client) -> None:
    remapped.needs(28, "mounts of images")
    script = "stat -c %u /other/bin; touch /other/x 2>&1; true"
    shown = shell(remapped, script, "--mount", f"type=image,source={BUSYBOX},target=/other")
    assert shown == "0\ntouch: /other/x: Read-only file system"


def test_users_and_groups(remapped: Client) -> None:
    assert (
        shell(remapped, "echo $(id -u) $(id -g) $(id -G)", "--user", "1000:1001", "--group-add", "5")
        == "1000 1001 1001 5"
    )
    assert shell(remapped, "id -un", "--user", "www-data") == "www-data"
    pid = sleeper(remapped, "cc", "--user", "1000")
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST + 1000
    assert remapped("exec", "-u", "33", "cc", "id", "-u").ok().line == "33"


def test_a_user_outside_of_the_range_is_refused(remapped: Client) -> None:
    done = remapped("run", "--rm", "--user", str(COUNT + 1), BUSYBOX, "true")
    assert done.status != 0


def test_volumes_are_the_same_with_and_without_remapping(remapped: Client, remapping: RemappingEngine) -> None:
    if isinstance(remapping, ShiftingEngine):
        pytest.skip("without id-mapped mounts, containers of the host's users see whose the files are on the disk")
    shell(remapped, "echo x > /v/file; chown 7:8 /v/file", "-v", "data:/v")
    assert shell(remapped, "stat -c %u:%g /v/file; cat /v/file", "-v", "data:/v", "--userns", "host").split() == [
        "7:8",
        "x",
    ]
    shell(remapped, "mkdir /v/sub; echo y > /v/sub/file; chown 9 /v/sub", "-v", "data:/v", "--userns", "host")
    assert shell(remapped, "stat -c %u /v/sub; cat /v/sub/file", "-v", "data:/v").split() == ["9", "y"]


def test_new_volumes_take_what_the_image_has(remapped: Client) -> None:
    assert shell(remapped, "stat -c %u:%a /var/tmp /etc/shadow", "-v", "/var/tmp", "-v", "etc:/etc").split() == [
        "0:1777",
        "0:640",
    ]


def test_files_of_the_host_stay_the_hosts(remapped: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o600)
    tmp_path.chmod(0o755)
    script = "stat -c %u /host/secret; cat /host/secret || touch /host/new || echo refused"
    assert shell(remapped, script, "-v", f"{tmp_path}:/host").split() == ["65534", "refused"]
    # What is given to the ids is theirs.
    mine = tmp_path / "mine"
    mine.mkdir()
    subprocess.run(["chown", f"{FIRST}:{FIRST}", mine], check=True)
    shell(remapped, "echo x > /host/file", "-v", f"{mine}:/host")
    assert (mine / "file").stat().st_uid == FIRST


def test_binds_below_directories_where_containers_root_cannot_pass(remapped: Client, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "file").write_text("shown")
    assert shell(remapped, "cat /file", "-v", f"{tmp_path}/file:/file:ro") == "shown"


def test_files_come_and_go_with_their_owners(remapped: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 7, 8)
    sleeper(remapped, "cc")
    remapped("cp", "-a", str(tmp_path / "file"), "cc:/running").ok()
    assert remapped("exec", "cc", "stat", "-c", "%u:%g", "/running").ok().line == "7:8"
    remapped("exec", "cc", "sh", "-c", "echo y > /made; chown 9:10 /made").ok()
    remapped("stop", "-t", "0", "cc").ok()
    remapped("cp", "-a", str(tmp_path / "file"), "cc:/stopped").ok()
    with tarfile.open(fileobj=io.BytesIO(remapped("cp", "-a", "cc:/made", "-").ok().raw)) as archive:
        assert [(member.uid, member.gid) for member in archive] == [(9, 10)]
    remapped("start", "cc").ok()
    assert remapped("exec", "cc", "stat", "-c", "%u:%g", "/running", "/stopped").ok().out.split() == ["7:8", "7:8"]
    with tarfile.open(fileobj=io.BytesIO(remapped("cp", "-a", "cc:/made", "-").ok().raw)) as archive:
        assert [(member.uid, member.gid) for member in archive] == [(9, 10)]
    assert remapped("diff", "cc").ok().out.splitlines() == ["A /made", "A /running", "A /stopped"]


def test_capabilities_end_at_the_namespace(remapped: Client) -> None:
    assert shell(remapped, "mount -t tmpfs x /tmp && echo mounted", "--cap-add", "SYS_ADMIN") == "mounted"
    # Were it not refused, the host would keep what it has.
    write = "p=/proc/sys/kernel/core_pattern; (cat $p > $p) 2>/dev/null || echo refused"
    script = f"mknod /disk b 254 0 2>/dev/null || echo refused; {write}"
    everything = ("--cap-add", "ALL", "--security-opt", "systempaths=unconfined")
    assert shell(remapped, script, *everything).split() == ["refused", "refused"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces"),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ],
    ids=["privileged", "network", "pid"],
)
def test_what_needs_the_hosts_user_namespace(remapped: Client, option: list[str], said: str) -> None:
    done = remapped("run", "--rm", *option, BUSYBOX, "true")
    assert done.status == 125
    assert said in done.err
    assert shell(remapped, "cat /proc/self/uid_map", *option, "--userns", "host").split() == ["0", "0", "4294967295"]


def test_networks(remapped: Client) -> None:
    remapped("network", "create", "mine").ok()
    assert "inet 127.0.0.1/8" in shell(remapped, "ip a", "--network", "none")
    for network in ("bridge", "mine"):
        assert (
            shell(
                remapped,
                "ping -c 1 -W 5 $(ip route | awk '/default/ {print $3}') >/dev/null && echo there",
                "--network",
                network,
            )
            == "there"
        )
    sleeper(remapped, "cc")
    remapped("network", "connect", "mine", "cc").ok()
    assert remapped("exec", "cc", "ls", "/sys/class/net").ok().out.split() == ["eth0", "eth1", "lo"]
    assert shell(remapped, "ip link set lo down && echo mine", "--cap-add", "NET_ADMIN") == "mine"
    assert shell(remapped, "cat /proc/sys/net/core/somaxconn", "--sysctl", "net.core.somaxconn=99") == "99"


def test_namespaces_of_another_container(remapped: Client) -> None:
    pid = sleeper(remapped, "other", "--ipc", "shareable")
    joined = ("--network", "container:other", "--pid", "container:other", "--ipc", "container:other")
    links = [str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("user", "net", "pid", "ipc")]
    script = "for n in user net pid ipc; do readlink /proc/self/ns/$n; done"
    assert shell(remapped, script, *joined).split() == links
    # With a network of its own, which belongs to the shared user namespace.
    assert shell(remapped, "readlink /proc/self/ns/user; ls /sys/class/net", "--pid", "container:other").split() == [
        links[0],
        "eth0",
        "lo",
    ]
    assert "sleep 1000" in shell(remapped, "ps", "--pid", "container:other", "--userns", "host")


def test_namespaces_of_a_container_without_one(remapped: Client) -> None:
    sleeper(remapped, "other", "--userns", "host")
    done = remapped("run", "--rm", "--network", "container:other", BUSYBOX, "true")
    assert done.status != 0
    assert "cannot join namespaces of other from a user namespace" in done.err
    assert shell(remapped, "echo joined", "--network", "container:other", "--userns", "host") == "joined"


def test_ipc_and_uts_of_the_host(remapped: Client) -> None:
    assert shell(remapped, "readlink /proc/self/ns/ipc", "--ipc", "host") == str(Path("/proc/self/ns/ipc").readlink())
    assert shell(remapped, "readlink /proc/self/ns/uts", "--uts", "host") == str(Path("/proc/self/ns/uts").readlink())


def test_devices_are_the_hosts(remapped: Client) -> None:
    script = "head -c 1 /dev/ballast | wc -c; echo x > /dev/null && echo written"
    assert shell(remapped, script, "--device", "/dev/zero:/dev/ballast").split() == ["1", "written"]


def test_the_hosts_devices_keep_their_owners(remapped: Client) -> None:
    before = {path: (Path(path).stat().st_uid, Path(path).stat().st_gid) for path in ("/dev/null", "/dev/zero")}
    shell(remapped, "true", "--user", "1000")
    remapped("run", "-d", "--name", "cc", "--device", "/dev/zero", BUSYBOX, "sleep", "1000").ok()
    remapped("exec", "-u", "1000", "cc", "true").ok()
    assert {path: (Path(path).stat().st_uid, Path(path).stat().st_gid) for path in before} == before


def test_other_options(remapped: Client) -> None:
    assert shell(remapped, "cat /proc/1/comm", "--init") in ("catatonit", "tini", "docker-init", "init")
    assert (
        shell(remapped, "touch /t/file && touch /file 2>/dev/null || echo ro", "--read-only", "--tmpfs", "/t") == "ro"
    )
    assert shell(
        remapped, "ulimit -n; cat /proc/self/oom_score_adj", "--ulimit", "nofile=100:200", "--oom-score-adj", "321"
    ).split() == ["100", "321"]
    assert shell(remapped, "df -k /dev/shm | tail -1 | awk '{print $2}'", "--shm-size", "16m") == "16384"
    assert remapped("run", "--rm", BUSYBOX, "nothing").status == 127
    assert remapped("run", "--rm", "--stop-signal", "INT", BUSYBOX, "sh", "-c", "exit 7").status == 7


def test_terminals(remapped: Client) -> None:
    terminal = remapped.terminal("run", "--rm", "-it", "--user", "1000", BUSYBOX, "sh", "-c", "tty; stat -c %u $(tty)")
    terminal.expect("/dev/pts/0\r\n1000\r\n")
    terminal.expect_exact("")
    terminal.wait()


def test_runc(remapped: Client) -> None:
    runtimes = json.loads(remapped("info", "-f", "{{json .Runtimes}}").ok().out)
    if "runc" not in runtimes:
        pytest.skip("runc is not installed")
    assert shell(remapped, "id -u; touch /new && ls /sys/class/net", "--runtime", "runc").split() == ["0", "eth0", "lo"]


def test_containers_outlive_the_engine(remapping: RemappingEngine) -> None:
    docker = remapping.darse
    sleeper(docker, "cc", "-v", "data:/v")
    remapping.kill9()
    remapping.up()
    docker("exec", "cc", "touch", "/v/file").ok()
    docker("restart", "-t", "0", "cc").ok()
    assert docker("exec", "cc", "stat", "-c", "%u", "/v/file").ok().line == "0"


def test_containers_go_between_engines_with_and_without(new_engine, remapping: RemappingEngine) -> None:
    """What is on the disk has no part in remapping: the same container runs under both."""
    darse = remapping.darse
    darse("run", "--name", "cc", BUSYBOX, "sh", "-c", "touch /mine; stat -c %u /mine").ok()
    remapping.stop()
    plain = Engine(root=remapping.root)
    plain.up()
    try:
        assert plain.darse("start", "-a", "cc").ok().line == "0"
        assert "name=userns" not in plain.darse("info", "-f", "{{json .SecurityOptions}}").ok().out
    finally:
        plain.stop()
        remapping.up()
    assert darse("start", "-a", "cc").ok().line == "0"


def test_the_default_user_is_made_with_ids_of_its_own() -> None:
    engine = DefaultRemappingEngine()
    engine.up()
    try:
        uid_map = engine.darse("run", "--rm", BUSYBOX, "cat", "/proc/self/uid_map").ok().line.split()
        assert uid_map[0] == "0"
        assert int(uid_map[1]) >= 100000
        assert uid_map[2] == "65536"
        given = f"dockremap:{uid_map[1]}:65536\n"
        assert given in (engine.root / "upper/subuid").read_text()
        assert given in (engine.root / "upper/subgid").read_text()
        # The next start finds the user.
        engine.restart()
        assert engine.darse("run", "--rm", BUSYBOX, "cat", "/proc/self/uid_map").ok().line.split() == uid_map
        assert (engine.root / "upper/subuid").read_text().count("dockremap") == 1
    finally:
        engine.close()


def test_no_more_processes_are_left_than_without(remapping: RemappingEngine) -> None:
    """The programs that make namespaces end when these are open."""
    remapping.darse("run", "--rm", BUSYBOX, "true").ok()

    def children() -> list[str]:
        tasks = Path(f"/proc/{remapping.pid}/task/{remapping.pid}/children").read_text().split()
        names = [Path(f"/proc/{child}/comm") for child in tasks]
        return [path.read_text().strip() for path in names if path.exists()]

    wait_until(lambda: not {"unshare", "cat", "nsenter"} & set(children()), what="the end of the helpers")


def test_containers_find_each_other_by_name(remapping: RemappingEngine) -> None:
    """The name server's sockets and rules are in a network namespace that belongs to the user namespace."""
    docker = remapping.docker
    docker("network", "create", "front").ok()
    for name in ("web", "store"):
        docker("run", "-d", "--name", name, "--network", "front", BUSYBOX, "sleep", "1000").ok()
    docker("exec", "web", "ping", "-c", "1", "store").ok()
    docker("exec", "store", "nslookup", "web.front").ok()
