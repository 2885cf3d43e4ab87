"""What run's options do inside the container: users, limits, names, init, capabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client


def inside(cli: Client, *arguments: str) -> str:
    return cli("run", "--rm", *arguments).ok().line


def shell(cli: Client, script: str, *options: str) -> str:
    return inside(cli, *options, BUSYBOX, "sh", "-c", script)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("1000", "1000 0 0"),
        ("1000:1001", "1000 1001 1001"),
        ("www-data", "33 33 33"),
        ("www-data:users", "33 100 100"),
        ("0", "0 0 0"),
    ],
)
def test_user(cli: Client, user: str, expected: str) -> None:
    assert shell(cli, "echo $(id -u) $(id -g) $(id -G)", "--user", user).startswith(expected)


def test_unknown_user(cli: Client) -> None:
    done = cli("run", "--rm", "--user", "nobody-knows", BUSYBOX, "true")
    assert done.status == 125
    assert "unable to find user nobody-knows: no matching entries in passwd file" in done.err


def test_group_add(cli: Client) -> None:
    assert shell(cli, "id -G", "--user", "1000:1000", "--group-add", "users", "--group-add", "4242") == "1000 100 4242"


def test_home_of_the_user(cli: Client) -> None:
    assert shell(cli, "echo $HOME", "--user", "www-data") in ("/var/www", "/")


def test_hostname_and_domainname(cli: Client) -> None:
    script = "hostname; cat /etc/hostname; grep -c ship /etc/hosts"
    assert shell(cli, script, "--hostname", "ship").split() == ["ship", "ship", "1"]


def test_default_hostname_is_the_short_id(cli: Client) -> None:
    container = cli("run", "-d", BUSYBOX, "sleep", "100").ok().line
    assert cli("exec", container, "hostname").ok().line == container[:12]


def test_dns_and_hosts(cli: Client) -> None:
    options = ("--dns", "192.0.2.53", "--dns-search", "example.test", "--dns-option", "ndots:3")
    assert shell(cli, "grep -v '^#' /etc/resolv.conf", *options).splitlines() == [
        "nameserver 192.0.2.53",
        "search example.test",
        "options ndots:3",
    ]
    assert "192.0.2.7\tharbour" in shell(cli, "cat /etc/hosts", "--add-host", "harbour:192.0.2.7")
    assert "host.docker.internal" in shell(cli, "cat /etc/hosts", "--add-host", "host.docker.internal:host-gateway")


def test_read_only(cli: Client) -> None:
    done = cli("run", "--rm", "--read-only", BUSYBOX, "touch", "/file")
    assert done.status == 1
    assert "Read-only file system" in done.err
    assert shell(cli, "touch /tmp/file && echo ok", "--read-only", "--tmpfs", "/tmp") == "ok"
    # /dev and its like stay writable.
    assert shell(cli, "echo x > /dev/null && echo ok", "--read-only") == "ok"


def test_default_capabilities(cli: Client) -> None:
    effective = int(shell(cli, "grep CapEff /proc/self/status | cut -f2"), 16)
    assert effective == 0x00000000A80425FB
    assert int(shell(cli, "grep CapEff /proc/self/status | cut -f2", "--user", "1000"), 16) == 0


def test_cap_add_and_drop(cli: Client) -> None:
    caps = "grep CapBnd /proc/self/status | cut -f2"
    assert int(shell(cli, caps, "--cap-drop", "ALL"), 16) == 0
    assert int(shell(cli, caps, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN"), 16) == 1 << 12
    assert int(shell(cli, caps, "--cap-add", "CAP_SYS_ADMIN"), 16) == 0xA80425FB | 1 << 21
    assert shell(cli, "ip link set lo down 2>&1; echo $?", "--cap-drop", "ALL").endswith("2")
    assert shell(cli, "ip link set lo down; echo $?", "--cap-add", "NET_ADMIN") == "0"
    done = cli("run", "--rm", "--cap-add", "CAP_NONSENSE", BUSYBOX, "true")
    assert done.status == 125
    assert "NONSENSE" in done.err


def test_init_reaps(cli: Client) -> None:
    first = shell(cli, "(sleep 0.1 &); cat /proc/1/comm; true", "--init")
    assert first in ("catatonit", "tini", "docker-init", "init")
    assert shell(cli, "cat /proc/1/comm; true") == "sh"


def test_init_passes_signals_and_status(cli: Client) -> None:
    assert cli("run", "--rm", "--init", BUSYBOX, "sh", "-c", "exit 17").status == 17


def test_ulimits(cli: Client) -> None:
    assert shell(cli, "ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200").split() == ["100", "200"]


def test_sysctl(cli: Client) -> None:
    assert (
        shell(
            cli,
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
            "--sysctl",
            "net.ipv4.ip_unprivileged_port_start=7",
        )
        == "7"
    )


def test_shm_size(cli: Client) -> None:
    assert shell(cli, "df -k /dev/shm | tail -1 | awk '{print $2}'") == "65536"
    assert shell(cli, "df -k /dev/shm | tail -1 | awk '{print $2}'", "--shm-size", "16m") == "16384"


def cgroup_value(container: dict, v1: str, v2: str) -> str:
    """The value of a limit, read from the host's side: the cgroup of the container's first process."""
    for line in Path(f"/proc/{container['State']['Pid']}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        controller, _, name = v1.partition("/")
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{name}").read_text().strip()
    path = Path(f"/proc/{container['State']['Pid']}/cgroup").read_text().splitlines()[0].split("::")[1]
    return Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()


@pytest.mark.parametrize(
    ("options", "v1", "v2", "expected"),
    [
        (["-m", "64m"], "memory/memory.limit_in_bytes", "memory.max", {"67108864"}),
        (["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max", {"50000", "50000 100000"}),
        (["--cpu-shares", "512"], "cpu/cpu.shares", "cpu.weight", {"512", "20"}),
        (["--pids-limit", "50"], "pids/pids.max", "pids.max", {"50"}),
        (["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "cpuset.cpus", {"0"}),
    ],
    ids=["memory", "cpus", "shares", "pids", "cpuset"],
)
def test_limits_are_in_force(cli: Client, options: list[str], v1: str, v2: str, expected: set[str]) -> None:
    cli("run", "-d", "--name", "limited", *options, BUSYBOX, "sleep", "100").ok()
    (container,) = json.loads(cli("inspect", "limited").ok().out)
    assert cgroup_value(container, v1, v2) in expected


def test_memory_limit_kills(cli: Client) -> None:
    done = cli(
        "run",
        "--name",
        "eater",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        BUSYBOX,
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
    )
    assert done.status == 137
    state = json.loads(cli("inspect", "-f", "{{json .State}}", "eater").ok().out)
    assert state["ExitCode"] == 137
    assert state["OOMKilled"] is True


def test_pid_and_ipc_and_uts_of_the_host(cli: Client) -> None:
    def namespace(name: str) -> str:
        return str(Path(f"/proc/self/ns/{name}").readlink())

    assert shell(cli, "readlink /proc/self/ns/pid", "--pid", "host") == namespace("pid")
    assert shell(cli, "readlink /proc/self/ns/ipc", "--ipc", "host") == namespace("ipc")
    assert shell(cli, "readlink /proc/self/ns/uts", "--uts", "host") == namespace("uts")
    for name in ("pid", "ipc", "uts", "net", "mnt"):
        assert shell(cli, f"readlink /proc/self/ns/{name}") != namespace(name)


def test_pid_of_another_container(cli: Client) -> None:
    cli("run", "-d", "--name", "other", "--ipc", "shareable", BUSYBOX, "sleep", "1234").ok()
    assert "sleep 1234" in shell(cli, "ps", "--pid", "container:other")
    ipc = cli("exec", "other", "readlink", "/proc/self/ns/ipc").ok().line
    assert shell(cli, "readlink /proc/self/ns/ipc", "--ipc", "container:other") == ipc


def test_device(cli: Client) -> None:
    assert shell(
        cli, "ls /dev/ballast && head -c 1 /dev/ballast | wc -c", "--device", "/dev/zero:/dev/ballast:r"
    ).endswith("1")
    done = cli("run", "--rm", "--device", "/dev/no-such-device", BUSYBOX, "true")
    assert done.status != 0
    assert '/dev/no-such-device": no such file or directory' in done.err


def test_oom_score_adj(cli: Client) -> None:
    assert shell(cli, "cat /proc/self/oom_score_adj", "--oom-score-adj", "321") == "321"


def test_mac_address(cli: Client) -> None:
    assert shell(cli, "cat /sys/class/net/eth0/address", "--mac-address", "02:42:ac:11:7f:01") == "02:42:ac:11:7f:01"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-m", "1k"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "1000"], "CPU"),
        (["--network", "container:nobody"], "No such container: nobody"),
        (["-v", "relative/path:/x:bogus"], "invalid"),
        (["--privileged", "--userns", "nonsense"], "nvalid"),
        (["--stop-signal", "NOPE"], "nvalid signal"),
        (["-w", "relative"], "working directory 'relative' is invalid, it needs to be an absolute path"),
    ],
)
def test_refused_options(cli: Client, options: list[str], said: str) -> None:
    done = cli("run", "--rm", *options, BUSYBOX, "true")
    assert done.status == 125
    assert said in done.err, done.err
