"""What a container may not do, by default, and with --privileged and --security-opt."""

from __future__ import annotations

import pytest
from tests.support.engine import BUSYBOX, Client
from tests.support.waiting import wait_until


def shell(cli: Client, script: str, *options: str) -> str:
    return cli("run", "--rm", *options, BUSYBOX, "sh", "-c", script).ok().line


def status(cli: Client, field: str, *options: str) -> str:
    return shell(cli, f"grep '^{field}:' /proc/self/status | cut -f2", *options)


def test_seccomp_filters_by_default(cli: Client) -> None:
    assert status(cli, "Seccomp") == "2"
    assert status(cli, "Seccomp", "--security-opt", "seccomp=unconfined") == "0"
    assert status(cli, "Seccomp", "--privileged") == "0"


def test_seccomp_forbids_new_user_namespaces(cli: Client) -> None:
    done = cli("run", "--rm", BUSYBOX, "unshare", "-U", "true")
    assert done.status != 0
    assert "Operation not permitted" in done.err


def test_seccomp_profile_of_ones_own(cli: Client, tmp_path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    done = cli("run", "--rm", "--security-opt", f"seccomp={profile}", BUSYBOX, "mkdir", "/forbidden")
    assert done.status == 1
    assert "Operation not permitted" in done.err


def test_no_new_privileges(cli: Client) -> None:
    assert status(cli, "NoNewPrivs") == "0"
    assert status(cli, "NoNewPrivs", "--security-opt", "no-new-privileges") == "1"


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"])
def test_masked_files_are_empty(cli: Client, path: str) -> None:
    assert shell(cli, f"cat {path} 2>/dev/null | wc -c") == "0"


@pytest.mark.parametrize("path", ["/proc/acpi", "/proc/scsi", "/sys/firmware"])
def test_masked_directories_are_empty(cli: Client, path: str) -> None:
    assert shell(cli, f"[ -d {path} ] && ls {path} | wc -l || echo 0") == "0"


@pytest.mark.parametrize(
    "path", ["/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"]
)
def test_read_only_paths(cli: Client, path: str) -> None:
    assert shell(cli, f"(echo 1 > {path}) 2>/dev/null && echo written || echo refused") == "refused"


def test_no_mounts_no_modules_no_raw_devices(cli: Client) -> None:
    done = cli("run", "--rm", BUSYBOX, "mount", "-t", "tmpfs", "none", "/tmp")
    assert done.status != 0
    assert shell(cli, "mknod /null c 1 3 && echo made") == "made"
    assert shell(cli, "mknod /disk b 254 0 && (cat /disk >/dev/null) 2>&1 | grep -c -i 'not permitted'") == "1"


def test_control_groups_are_out_of_reach(cli: Client) -> None:
    attempt = "[ -e $d/cgroup.procs ] && mkdir $d/x 2>/dev/null && echo made $d"
    assert shell(cli, f"for d in /sys/fs/cgroup/*/ /sys/fs/cgroup; do {attempt}; done; true") == ""


def test_privileged_may(cli: Client) -> None:
    assert shell(cli, "mount -t tmpfs none /tmp && echo mounted", "--privileged") == "mounted"
    assert int(status(cli, "CapEff", "--privileged"), 16) & (1 << 21)
    assert int(shell(cli, "ls /dev | wc -l", "--privileged")) > int(shell(cli, "ls /dev | wc -l"))


def test_host_is_out_of_sight(cli: Client) -> None:
    assert int(shell(cli, "ls -d /proc/[0-9]* | wc -l")) < 10
    mounts = shell(cli, "cat /proc/self/mountinfo")
    assert "/state.sqlite" not in mounts


def test_links_in_a_container_do_not_lead_user_lookup_out(cli: Client) -> None:
    """A link from /etc/passwd is followed inside the container's root, where there is nothing."""
    script = "rm /etc/passwd; ln -s ../../../../../../../../../proc/1/root/etc/passwd /etc/passwd; sleep 100"
    cli("run", "-d", "--name", "evil", BUSYBOX, "sh", "-c", script).ok()
    wait_until(lambda: "proc/1" in cli("exec", "evil", "readlink", "/etc/passwd").out, what="the link")
    done = cli("exec", "-u", "systemd-network", "evil", "true")
    assert done.status != 0
    assert "no matching entries in passwd file" in done.out + done.err
