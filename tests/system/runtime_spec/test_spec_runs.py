"""Specs as the kernel sees them: each test runs a container and looks from inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.runtime_spec.conftest import Bundle

from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.oci.spec import SharedNamespaces
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import DeviceMapping, HostConfig, Ulimit

DEFAULT_CAPABILITIES = "00000000a80425fb"  # what docker's containers have


def status(output: str) -> dict[str, str]:
    """/proc/self/status as a mapping."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in output.splitlines())}


def test_a_default_container_is_confined(bundle: Bundle) -> None:
    done = bundle.run("cat /proc/self/status; hostname; echo $$")
    assert done.returncode == 0, done.stderr
    seen = status(done.stdout)
    assert (seen["CapEff"], seen["CapBnd"], seen["CapPrm"]) == (DEFAULT_CAPABILITIES,) * 3
    assert (seen["CapInh"], seen["CapAmb"]) == ("0" * 16,) * 2
    assert seen["Seccomp"] == "2"
    assert seen["NoNewPrivs"] == "0"
    assert done.stdout.splitlines()[-2:] == ["testing", "1"]


@pytest.mark.parametrize(
    "script",
    [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs x /tmp",
        "mknod /tmp/sda b 8 0 && cat /tmp/sda",
        "chroot / true && hostname evil",
        "dmesg",
        "hwclock -w",
        "echo b > /proc/sysrq-trigger",
        "echo '|/bin/sh' > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo 0 > /sys/class/net/lo/mtu",
        "ls /sys/firmware/efi /sys/firmware/acpi",
        "test -s /proc/keys",
        "test -s /proc/timer_list",
        "for f in $(find /sys/fs/cgroup -name release_agent); do echo /x > $f && exit 0; done; exit 1",
        "cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; mkdir x",
    ],
)
def test_ways_out_are_closed(bundle: Bundle, script: str) -> None:
    done = bundle.run(script)
    assert done.returncode not in (0, 127), done.stdout


def test_privileged_opens_them(bundle: Bundle) -> None:
    done = bundle.run(
        "unshare -m true && mount -t tmpfs x /tmp && test -c /dev/full && grep Seccomp: /proc/self/status",
        HostConfig(Privileged=True),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Seccomp:", "0"]


@pytest.mark.parametrize(
    ("user", "group_add", "expected"),
    [
        ("", [], "uid=0(root) gid=0(root) groups=0(root)"),
        ("ada", [], "uid=1000(ada) gid=1000(ada) groups=44(video),1000(ada)"),
        ("ada:video", [], "uid=1000(ada) gid=44(video) groups=44(video)"),
        ("77:88", ["99"], "uid=77 gid=88 groups=88,99"),
    ],
)
def test_users_and_groups(bundle: Bundle, user: str, group_add: list[str], expected: str) -> None:
    done = bundle.run(
        "id; echo $HOME; grep CapEff /proc/self/status",
        HostConfig(GroupAdd=group_add),
        config=ContainerConfig(User=user),
    )
    identity, home, capabilities = done.stdout.splitlines()
    words = identity.split(" groups=")
    assert (words[0], sorted(words[1].split(","))) == (
        expected.split(" groups=", maxsplit=1)[0],
        sorted(expected.split("groups=")[1].split(",")),
    )
    assert home == {"": "/root", "ada": "/home/ada", "ada:video": "/home/ada"}.get(user, "/")
    assert capabilities.split()[1] == (DEFAULT_CAPABILITIES if not user else "0" * 16)


def test_passwd_that_is_a_link_to_the_host(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "host-passwd").write_text("evil:x:0:0::/:/bin/sh\n")
    (bundle.rootfs / "etc/passwd").unlink()
    (bundle.rootfs / "etc/passwd").symlink_to(tmp_path / "host-passwd")
    with pytest.raises(Exception, match="unable to find user evil"):
        bundle.run("id", config=ContainerConfig(User="evil"))


def test_limits_and_namespaces(bundle: Bundle) -> None:
    host = HostConfig(
        Ulimits=[Ulimit("nofile", 123, 456), Ulimit("core", 0, 0)],
        OomScoreAdj=300,
        Sysctls={"net.core.somaxconn": "77"},
        Tmpfs=None,
    )
    done = bundle.run(
        "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/core/somaxconn "
        "/proc/sys/net/ipv4/ip_unprivileged_port_start; "
        "for n in mnt net pid ipc uts; do readlink /proc/self/ns/$n; done",
        host,
    )
    assert done.stdout.splitlines()[:5] == ["123", "456", "300", "77", "0"], done.stderr
    inside = done.stdout.splitlines()[5:]
    for kind, name in zip(("mnt", "net", "pid", "ipc", "uts"), inside, strict=True):
        assert name != os.readlink(f"/proc/self/ns/{kind}")


def test_the_host_s_namespaces_when_asked_for(bundle: Bundle) -> None:
    shared = SharedNamespaces(network=None, pid=None, ipc=None, uts=None, cgroup=None)
    done = bundle.run("for n in net pid ipc uts; do readlink /proc/self/ns/$n; done", namespaces=shared)
    assert done.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc", "uts")]


def test_memory_processor_and_process_limits_reach_the_cgroup(bundle: Bundle) -> None:
    host = HostConfig(Memory=16 << 20, MemorySwap=16 << 20, NanoCpus=500_000_000, PidsLimit=50, CpuShares=300)
    done = bundle.run(
        "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max 2>/dev/null || "
        "cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max",
        host,
    )
    seen = done.stdout.split()
    assert seen[0] == str(16 << 20), done.stderr
    assert seen[1] == "50000"
    assert "50" in seen


def test_too_much_memory_ends_the_process(bundle: Bundle) -> None:
    done = bundle.run(
        "head -c 100m /dev/zero | tail > /dev/null; exit $?", HostConfig(Memory=8 << 20, MemorySwap=8 << 20)
    )
    assert done.returncode != 0


@pytest.mark.parametrize("extreme", [2**62, 2**63 - 1])
def test_absurd_limits_do_not_fail_the_start(bundle: Bundle, extreme: int) -> None:
    host = HostConfig(
        Memory=extreme,
        PidsLimit=extreme,
        CpuShares=extreme,
        ShmSize=extreme,
        Ulimits=[Ulimit("nofile", extreme, extreme)],
    )
    done = bundle.run("true", host)
    assert done.returncode == 0, done.stderr


def test_a_device_is_there_and_allowed(bundle: Bundle) -> None:
    found = [path for path in ("/dev/net/tun", "/dev/fuse", "/dev/loop-control") if os.path.exists(path)]
    if not found:
        pytest.skip("no device that is not allowed anyway")
    host = HostConfig(Devices=[DeviceMapping(found[0], "/dev/mine", "r")])
    done = bundle.run(": < /dev/mine && echo read; : > /dev/mine", host)
    assert done.stdout.strip() == "read", done.stderr
    assert done.returncode != 0, "it is allowed for reading only"
    assert "Operation not permitted" in done.stderr


def test_a_read_only_root(bundle: Bundle) -> None:
    done = bundle.run(
        "touch /x; touch /dev/x && touch /dev/shm/x && touch /t/x && echo ok",
        HostConfig(ReadonlyRootfs=True),
        mounts=[TmpfsMount("/t", ["size=1m"])],
    )
    assert done.stdout.strip() == "ok"
    assert "Read-only file system" in done.stderr


def test_an_init_reaps_and_passes_the_status_on(bundle: Bundle) -> None:
    program = next(
        (
            path
            for path in ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static")
            if os.path.exists(path)
        ),
        None,
    )
    if program is None:
        pytest.skip("no static init program is installed")
    done = bundle.run("test $$ != 1 && cat /proc/1/comm; exit 7", init_program=program)
    assert done.returncode == 7
    assert done.stdout.strip() in ("docker-init", os.path.basename(program))


def test_the_working_directory_is_made(bundle: Bundle) -> None:
    done = bundle.run("pwd", config=ContainerConfig(WorkingDir="/not/there/yet"))
    assert done.stdout.strip() == "/not/there/yet", done.stderr


def test_no_descriptor_of_the_host_can_be_the_working_directory(bundle: Bundle) -> None:
    """CVE-2024-21626: a descriptor of the host that leaks into the runtime's child."""
    for number in range(3, 24):
        done = bundle.run(
            "cat etc/hostname ../../../etc/shadow", config=ContainerConfig(WorkingDir=f"/proc/self/fd/{number}")
        )
        assert done.returncode != 0
        assert not done.stdout


def test_binds_below_masked_paths_do_not_unmask(bundle: Bundle) -> None:
    """CVE-2019-16884's kind: a volume over /proc."""
    source = bundle.directory / "fake"
    source.mkdir()
    done = bundle.run(
        "ls /proc/1/status", mounts=[BindMount(str(source), "/proc", writable=True, propagation="rprivate")]
    )
    assert done.returncode != 0


def test_a_mount_target_that_links_out_of_the_root(bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2021-30465's kind: the destination in the image is a link to the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle.rootfs / "link").symlink_to(outside)
    (bundle.directory / "data").mkdir()
    (bundle.directory / "data/mark").write_text("x")
    bundle.run(
        "true", mounts=[BindMount(str(bundle.directory / "data"), "/link/below", writable=True, propagation="rprivate")]
    )
    assert list(outside.iterdir()) == []


def test_binds_keep_order_flags_and_depth(new_bundle: Callable[[], Bundle]) -> None:
    bundle = new_bundle()
    outer, inner = bundle.directory / "outer", bundle.directory / "inner"
    outer.mkdir()
    inner.mkdir()
    (outer / "o").write_text("o")
    (inner / "i").write_text("i")
    mounts = [
        BindMount(str(inner), "/data/sub", writable=False, propagation="rprivate", recursive_read_only=True),
        BindMount(str(outer), "/data", writable=True, propagation="rprivate"),
    ]
    done = bundle.run("cat /data/o /data/sub/i; touch /data/new && ! touch /data/sub/new", mounts=mounts)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "oi"
    assert (outer / "new").exists()


def test_apparmor_confines(bundle: Bundle) -> None:
    if not bundle.facts.apparmor:
        pytest.skip("this host has no AppArmor")
    script = "cat /proc/self/attr/current; mount -t tmpfs x /tmp || echo refused"
    done = bundle.run(script, HostConfig(CapAdd=["SYS_ADMIN"]))
    assert done.stdout.splitlines() == ["darse-default (enforce)", "refused"]
    done = bundle.run(script, HostConfig(CapAdd=["SYS_ADMIN"], SecurityOpt=["apparmor=unconfined"]))
    assert done.stdout.splitlines() == ["unconfined"]
