"""`darse doctor`: what this host has and lacks, and what to do about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from darse.engine.config import EngineConfig
from darse.linux import sysctl
from darse.linux.mounts import is_mount_point
from darse.runtime.cgroups import Cgroups
from darse.runtime.hostfacts import HostFacts
from darse.runtime.launch import CONMON
from darse.runtime.seccomp import DEFAULT_PROFILE
from darse.wire.system import Finding

_PROGRAMS = (
    ("crun", "crun", "containers are run by it", True),
    (CONMON, "conmon", "it watches every container", True),
    ("catatonit", "catatonit", "`run --init` needs it (or tini)", False),
    ("runc", "runc", "`run --runtime runc` needs it", False),
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/podman"
_LOW_SPACE = 1 << 30


def examine(config: EngineConfig, facts: HostFacts, cgroups: Cgroups) -> list[Finding]:
    """Look at the host."""
    findings = [_program(*program) for program in _PROGRAMS]
    findings.append(_file(DEFAULT_PROFILE, "golang-github-containers-common", "the default seccomp profile"))
    findings.append(_file(Path("/bin/busybox"), "busybox-static", "the built-in images are assembled from it"))
    findings.append(_cgroup_layout(facts, cgroups))
    findings.append(_capabilities(facts))
    findings.append(
        Finding("ok", "AppArmor", "enabled")
        if facts.apparmor
        else Finding("note", "AppArmor", "not enabled: containers are confined by seccomp and capabilities only")
    )
    findings.append(_forwarding())
    findings.append(_space(config.data_root))
    if not facts.swap_accounting:
        findings.append(Finding("note", "swap accounting", "absent: memory limits do not count swap"))
    if is_mount_point(config.exec_root / "bundles"):
        findings.append(Finding("ok", "private mount of the bundles", str(config.exec_root / "bundles")))
    return findings


def _program(name: str, package: str, why: str, needed: bool) -> Finding:
    path = shutil.which(name, path=_PATH)
    if path is not None:
        return Finding("ok", os.path.basename(name), path)
    return Finding("problem" if needed else "note", name, f"not installed: {why}", f"apt-get install {package}")


def _file(path: Path, package: str, why: str) -> Finding:
    if path.exists():
        return Finding("ok", str(path), why)
    return Finding("problem", str(path), f"missing: {why}", f"apt-get install {package}")


def _cgroup_layout(facts: HostFacts, cgroups: Cgroups) -> Finding:
    if facts.cgroup_version == 2:
        missing = {"cpu", "memory", "pids"} - facts.controllers
        if missing:
            names = ", ".join(sorted(missing))
            return Finding("problem", "control groups", f"version 2 without {names}: limits of it do not work")
        return Finding("ok", "control groups", "version 2")
    layout = "hybrid" if any(tree.version == 2 for tree in cgroups.hierarchies) else "version 1"
    return Finding(
        "note", "control groups", f"{layout}: works; version 2 is the norm", "boot with systemd on version 2"
    )


def _capabilities(facts: HostFacts) -> Finding:
    wanted = {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_RESOURCE", "CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_SETFCAP"}
    missing = sorted(wanted - facts.capabilities)
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


def _forwarding() -> Finding:
    if sysctl.read("net/ipv4/ip_forward") == "1":
        return Finding("ok", "IPv4 forwarding", "on")
    return Finding(
        "problem", "IPv4 forwarding", "off: containers reach this host only", "sysctl -w net.ipv4.ip_forward=1"
    )


def _space(data_root: Path) -> Finding:
    free = shutil.disk_usage(data_root).free
    text = f"{free / 1e9:.1f} GB free under {data_root}"
    if free < _LOW_SPACE:
        return Finding("problem", "disk space", text, "docker system prune, or a larger disk")
    return Finding("ok", "disk space", text)
