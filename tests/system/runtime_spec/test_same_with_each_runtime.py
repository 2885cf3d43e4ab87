"""What a process finds is the same with crun as with runc, from which docker's users know it.

Known differences, which nothing has been seen to depend on: crun's /dev/core, the options of the mounts below /proc and
/sys, the group that the streams of a user belong to, and the sticky bit of directories made above a mount point.
"""

from __future__ import annotations

import pytest
from tests.support.engine import BUSYBOX, Engine

PROCESS = r"""
id; pwd; umask; env | grep -v ^HOSTNAME= | sort
grep -E '^(Groups|Cap|Seccomp:|NoNewPrivs)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/coredump_filter
ls -l /proc/self/fd | awk '{ print $1, $9, $10, $11 }' | sed 's/[0-9][0-9][0-9]*/N/g; /^total/d' | sort
"""
PLACE = r"""
find /dev ! -name core ! -path '/dev/pts/?' -exec stat -c '%n %a %F %t:%T %N' {} + | sort
stat -c '%n %a %u %g' /dev/shm /dev/pts /dev/mqueue /proc / /etc/hosts /etc/resolv.conf /etc/hostname /tmp
awk '{ print $5 }' /proc/self/mountinfo | grep -v /sys/fs/cgroup | sort
for name in asound acpi interrupts kcore keys latency_stats timer_list timer_stats sched_debug scsi; do
    stat -L -c '%n %F' /proc/$name; head -c 1 /proc/$name | wc -c; ls /proc/$name | head -1 | wc -l
done
for name in bus fs irq sys; do touch /proc/$name/x; done
for name in ipv4/ip_unprivileged_port_start ipv4/ping_group_range ipv4/ip_forward ipv6/conf/all/disable_ipv6; do
    cat /proc/sys/net/$name
done
cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/domainname
awk '{ print $1, $4, $5, $6 }' /proc/1/stat; ls /proc/self/ns
"""


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-t",),
        ("-u", "1000:7", "--group-add", "9", "--group-add", "44"),
        ("-u", "1000", "--privileged"),
        ("--read-only", "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--security-opt", "no-new-privileges"),
        ("-w", "/a/b", "--ulimit", "nofile=100:200", "--ulimit", "core=0", "--oom-score-adj", "300", "--init"),
        (
            "--sysctl",
            "net.ipv4.ip_forward=0",
            "--sysctl",
            "kernel.msgmax=9000",
            "--domainname",
            "d",
            "--shm-size",
            "1m",
        ),
        ("--ipc", "host", "--pid", "host", "--uts", "host"),
    ],
    ids=" ".join,
)
def test_a_container(engine: Engine, flags: tuple[str, ...]) -> None:
    script = f"exec 2>&1; {PROCESS} {PLACE}"
    with_crun, with_runc = (
        engine.docker("run", "--rm", "--runtime", runtime, *flags, BUSYBOX, "sh", "-c", script).ok().out.splitlines()
        for runtime in ("crun", "runc")
    )
    assert len(with_crun) > 80
    assert with_crun == with_runc


@pytest.mark.parametrize("flags", [(), ("-t",), ("-u", "0"), ("-u", "daemon"), ("--privileged",), ("-w", "/tmp")])
def test_an_exec(engine: Engine, flags: tuple[str, ...]) -> None:
    said = []
    for runtime in ("crun", "runc"):
        engine.docker(
            "run", "-d", "--name", runtime, "--runtime", runtime, "-u", "1000:7", BUSYBOX, "sleep", "600"
        ).ok()
        said.append(engine.docker("exec", *flags, runtime, "sh", "-c", f"exec 2>&1; {PROCESS}").ok().out.splitlines())
        engine.docker("rm", "-f", runtime).ok()
    assert len(said[0]) > 25
    assert said[0] == said[1]
