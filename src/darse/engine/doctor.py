"""`darse doctor`: what this host has and lacks, and what to do about it.

Each check is a function that returns a finding: `ok`, `note` (works, with a limitation) or `problem` (something will
fail), what was found, and what to do. `warnings()` are the few that are cheap enough for every `info`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from darse.core.config import EngineConfig
from darse.linux import sysctl
from darse.recovery.startup import Trouble
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.monitor.launch import CONMON
from darse.runtime.rootfs.trash import Trash
from darse.runtime.seccomp.profiles import DEFAULT_PROFILE
from darse.runtime.sysinfo import SysInfo
from darse.wire.system import Finding

_PROGRAMS = (
    ("crun", "crun", "containers are run by it", True),
    (CONMON, "conmon", "it watches every container", True),
    ("catatonit", "catatonit", "`run --init` needs it (or tini)", False),
    ("runc", "runc", "`run --runtime runc` needs it", False),
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/podman"
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_CAPABILITIES = frozenset(
    {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_ADMIN",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RESOURCE",
    }
)
# A cgroup controller, what asks for it, and docker's warning when it is missing.
_CONTROLLERS = (
    ("memory", "--memory", "No memory limit support"),
    ("cpu", "--cpus and --cpu-shares", "No cpu shares support"),
    ("cpuset", "--cpuset-cpus", "No cpuset support"),
    ("pids", "--pids-limit", "No pids limit support"),
)
# A feature of block devices, and the names of its files in docker's warnings, of cgroup versions 1 and 2.
_BLOCK_FEATURES = (
    ("block weight", "weight", "io.weight"),
    ("block weight device", "weight_device", "io.weight (per device)"),
    *(
        ("block throttle", f"throttle.{kind}_{unit}_device", f"io.max ({kind[0]}{unit})")
        for unit in ("bps", "iops")
        for kind in ("read", "write")
    ),
)
_LOW_SPACE = 1 << 30
_LOW_OPEN_FILES = 4096
_LOW_WATCHES = 8192


def warnings(config: EngineConfig, facts: SysInfo) -> list[str]:
    """What `info` warns of, in docker's words."""
    texts = [text for controller, _, text in _CONTROLLERS if controller not in facts.controllers]
    if "memory" in facts.controllers and not facts.swap_accounting:
        texts.append("No swap limit support")
    texts += _lacking(facts)
    if config.ip_forward and sysctl.read("net/ipv4/ip_forward") != "1":
        texts.append("IPv4 forwarding is disabled")
    if config.allow_plain_tcp:
        texts.append("API is accessible on tcp without encryption. Access to it is equivalent to root on this host.")
    return texts


def _lacking(facts: SysInfo) -> list[str]:
    """What the controllers that there are cannot do."""
    unified = facts.cgroup_version == 2
    texts = []
    if "memory" in facts.controllers and not unified and "oom kill disable" not in facts.features:
        texts.append("No oom kill disable support")
    if "cpu" in facts.controllers and "cpu quota" not in facts.features:
        texts += ["No cpu cfs quota support", "No cpu cfs period support"]
    for feature, legacy, name in _BLOCK_FEATURES:
        if feature not in facts.features:
            texts.append(f"No {name if unified else f'blkio {legacy}'} support")
    return texts


def examine(config: EngineConfig, facts: SysInfo, cgroups: Cgroups) -> list[Finding]:
    """Look at the host; takes tens of milliseconds, for it runs a program or two."""
    return [
        *(_program(*program) for program in _PROGRAMS),
        _file(DEFAULT_PROFILE, "golang-github-containers-common", "the default seccomp profile"),
        _file(Path("/bin/busybox"), "busybox-static", "the built-in images are assembled from it"),
        _namespaces(),
        _seccomp(),
        _overlay(),
        _data_root(config.data_root),
        _space(config.data_root),
        _cgroup_layout(facts, cgroups),
        *_controllers(facts),
        _capabilities(facts),
        _apparmor(facts),
        _open_files(facts),
        _watches(),
        _forwarding(config),
        _foreign_firewall(config),
    ]


def left_in(trash: Trash) -> list[Finding]:
    """What could not be removed."""
    return [
        Finding(
            "problem",
            str(trash.directory / name),
            f"to be removed, and cannot be: {reason}",
            "unmount what is mounted in it, or clear immutable flags (lsattr, chattr -i): it is tried again every hour",
        )
        for name, reason in sorted(trash.left.items())
    ]


def of_data(troubles: list[Trouble]) -> list[Finding]:
    """What is wrong with the records and the data of the engine."""
    if not troubles:
        return [Finding("ok", "records and data", "belong together")]
    return [Finding(one.level, one.subject, one.found, one.advice) for one in troubles]


def _program(name: str, package: str, why: str, needed: bool) -> Finding:
    path = shutil.which(name, path=_PATH)
    if path is not None:
        return Finding("ok", os.path.basename(name), path)
    return Finding("problem" if needed else "note", name, f"not installed: {why}", f"apt-get install {package}")


def _file(path: Path, package: str, why: str) -> Finding:
    if path.exists():
        return Finding("ok", str(path), why)
    return Finding("problem", str(path), f"missing: {why}", f"apt-get install {package}")


def _namespaces() -> Finding:
    missing = [name for name in _NAMESPACES if not os.path.exists(f"/proc/self/ns/{name}")]
    if missing:
        return Finding(
            "problem", "namespaces", f"the kernel has no {', '.join(missing)}", "use a kernel with namespaces"
        )
    return Finding("ok", "namespaces", ", ".join(_NAMESPACES))


def _seccomp() -> Finding:
    if os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        return Finding("ok", "seccomp", "system calls are filtered")
    return Finding(
        "problem", "seccomp", "the kernel cannot filter system calls", "use a kernel with CONFIG_SECCOMP_FILTER"
    )


def _overlay() -> Finding:
    known = Path("/proc/filesystems").read_text().split()
    if "overlay" in known:
        return Finding("ok", "overlay", "the kernel has the overlay file system")
    return Finding("note", "overlay", "not loaded yet", "modprobe overlay")


def _data_root(data_root: Path) -> Finding:
    kind = _mount_type(data_root)
    where = f"{data_root} is on {kind}"
    if kind in ("overlay", "aufs", "ecryptfs", "nfs", "nfs4", "cifs", "9p", "vboxsf"):
        return Finding(
            "problem",
            "data root",
            f"{where}, which overlay cannot write to",
            "choose a --data-root on ext4, xfs or btrfs",
        )
    if kind == "tmpfs":
        return Finding("note", "data root", f"{where}: everything is lost at a restart", "choose another --data-root")
    return Finding("ok", "data root", where)


def _mount_type(path: Path) -> str:
    best, kind = "", "an unknown file system"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, fstype, *_ = line.split(" ")
        if (path == Path(target) or Path(target) in path.parents) and len(target) >= len(best):
            best, kind = target, fstype
    return kind


def _space(data_root: Path) -> Finding:
    found = os.statvfs(data_root)
    free = found.f_bavail * found.f_frsize
    text = f"{free / 1e9:.1f} GB free under {data_root}"
    if free < _LOW_SPACE:
        return Finding("problem", "disk space", text, "docker system prune, or a larger disk")
    if found.f_files and found.f_favail < found.f_files // 20:
        return Finding("problem", "disk space", f"{text}, but few inodes", "docker system prune, or more inodes")
    return Finding("ok", "disk space", text)


def _cgroup_layout(facts: SysInfo, cgroups: Cgroups) -> Finding:
    if facts.cgroup_version == 2:
        return Finding("ok", "control groups", "version 2")
    layout = "hybrid" if any(tree.version == 2 for tree in cgroups.hierarchies) else "version 1"
    return Finding(
        "note",
        "control groups",
        f"{layout}: works; version 2 is the norm",
        "boot with systemd.unified_cgroup_hierarchy=1",
    )


def _controllers(facts: SysInfo) -> list[Finding]:
    findings = [
        Finding("problem", f"{controller} controller", f"missing: {options} will be refused", f"enable {controller}")
        for controller, options, _ in _CONTROLLERS
        if controller not in facts.controllers
    ]
    if not findings:
        findings.append(Finding("ok", "controllers", ", ".join(sorted(facts.controllers))))
    if not facts.swap_accounting:
        advice = "boot with swapaccount=1"
        findings.append(Finding("note", "swap accounting", "absent: memory limits do not count swap", advice))
    return findings


def _capabilities(facts: SysInfo) -> Finding:
    missing = sorted(_CAPABILITIES - facts.capabilities)
    if not missing:
        return Finding("ok", "capabilities", "all that are needed")
    if missing == ["CAP_SYS_RESOURCE"]:
        return Finding(
            "note",
            "capabilities",
            "CAP_SYS_RESOURCE is missing: hard limits above the engine's own are lowered to them",
            "give the engine's service that capability",
        )
    return Finding("problem", "capabilities", f"missing: {', '.join(missing)}", "run darsed as root, unconfined")


def _apparmor(facts: SysInfo) -> Finding:
    if facts.apparmor:
        return Finding("ok", "AppArmor", "enabled")
    return Finding(
        "note",
        "AppArmor",
        "not enabled: containers are confined by seccomp and capabilities only",
        "boot a kernel with AppArmor (apparmor=1 security=apparmor)",
    )


def _open_files(facts: SysInfo) -> Finding:
    limit = facts.open_files_hard
    if 0 <= limit < _LOW_OPEN_FILES:
        return Finding("problem", "open files", f"limited to {limit}", "raise LimitNOFILE of the engine's service")
    return Finding("ok", "open files", "unlimited" if limit < 0 else f"up to {limit}")


def _watches() -> Finding:
    watches = int(sysctl.read("fs/inotify/max_user_watches"))
    if watches < _LOW_WATCHES:
        return Finding(
            "problem",
            "inotify",
            f"{watches} watches for a user: each log that is followed or rotated needs one",
            "sysctl -w fs.inotify.max_user_watches=65536",
        )
    return Finding("ok", "inotify", f"{watches} watches")


def _forwarding(config: EngineConfig) -> Finding:
    if sysctl.read("net/ipv4/ip_forward") == "1":
        return Finding("ok", "IPv4 forwarding", "on")
    level = "problem" if config.ip_forward else "note"
    return Finding(level, "IPv4 forwarding", "off: containers reach this host only", "sysctl -w net.ipv4.ip_forward=1")


def _foreign_firewall(config: EngineConfig) -> Finding:
    """A drop in anybody's forward chain is final in nftables: an accept in our table does not undo it."""
    program = shutil.which("iptables", path=_PATH)
    if program is None:
        return Finding("ok", "other firewalls", "no iptables on this host")
    try:
        rules = subprocess.run(
            [program, "-w", "2", "-S", "FORWARD"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("note", "other firewalls", f"iptables does not answer: {error}")
    if "-P FORWARD DROP" not in rules:
        return Finding("ok", "other firewalls", "none drops what is forwarded")
    bridge = config.bridge_name
    if any(f"-i {bridge}" in rule and "-j ACCEPT" in rule for rule in rules):
        return Finding("ok", "other firewalls", f"FORWARD drops, and lets {bridge} pass")
    by_docker = any("DOCKER" in rule for rule in rules)
    return Finding(
        "problem",
        "other firewalls",
        f"iptables drops what is forwarded{' (by dockerd)' if by_docker else ''}: containers reach this host only",
        f"iptables -I FORWARD -i {bridge} -j ACCEPT; iptables -I FORWARD -o {bridge} -j ACCEPT",
    )
