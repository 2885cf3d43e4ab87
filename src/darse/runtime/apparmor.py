"""The AppArmor profile that containers have where the host has AppArmor: docker's, under a name of ours.

The kernel enforces it beside capabilities and seccomp: no mounts, no writes to the dangerous parts of /proc and /sys
even if a masked path were bared, no ptrace of or signals to what is outside. See apparmor.d(5), and moby's
profiles/apparmor/template.go, whose rules these are.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Final

from darse.core import trace
from darse.core.errors import InvalidParameter

DEFAULT_PROFILE: Final = "darse-default"
_LOADED: Final = Path("/sys/kernel/security/apparmor/profiles")
_PARSER: Final = "/sbin/apparmor_parser"
_SECONDS: Final = 30
_TEMPLATE: Final = """\
#include <tunables/global>

profile {name} flags=(attach_disconnected,mediate_deleted) {{
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,

  # From the engine, its monitors and the runtime, which are not confined, and among the container's own.
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  signal (send,receive) peer={name},

  # Of /proc only what belongs to processes, and sys/kernel/shm*, may be written.
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  deny mount,

  # Of /sys only fs/cgroup.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  ptrace (trace,read,tracedby,readby) peer={name},
}}
"""
_log = logging.getLogger("darse.runtime")


def default_profile() -> str:
    """The text of the default profile. A package has it in /etc/apparmor.d, where it may be changed."""
    return _TEMPLATE.format(name=DEFAULT_PROFILE)


def load_default_profile() -> str:
    """Have the default profile in the kernel; return its name, or "" when that fails, which is logged.

    Blocks; a tenth of a second the first time after a boot.
    """
    try:
        if DEFAULT_PROFILE in _loaded():
            return DEFAULT_PROFILE
        profile = default_profile()
        with trace.step("file", f"load the AppArmor profile {DEFAULT_PROFILE}", _PARSER, "-Kr", profile):
            subprocess.run(
                [_PARSER, "-Kr"],
                input=profile,
                check=True,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
    except subprocess.CalledProcessError as error:
        _log.warning("containers have no AppArmor profile: %s", error.stderr.strip())
        return ""
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.warning("containers have no AppArmor profile (install the package apparmor): %s", error)
        return ""
    return DEFAULT_PROFILE


def check_loaded(profile: str) -> None:
    """Raise InvalidParameter when the kernel has no such profile; the default one is loaded again.

    Blocks. Who takes profiles out (aa-teardown(8), apparmor_parser -R) does not tell; a runtime would say of it no more
    than that something does not exist.
    """
    if not profile or profile == "unconfined":
        return
    try:
        loaded = _loaded()
    except OSError as error:  # securityfs is not mounted here; the runtime is the judge
        _log.debug("which AppArmor profiles are loaded is not known: %s", error)
        return
    # Profiles of a namespace (`:ns:profile`) are listed there; those that are stacked, each by itself.
    missing = [one for one in profile.split("//&") if one not in loaded and not one.startswith(":")]
    if missing == [DEFAULT_PROFILE] and load_default_profile():
        return
    if missing:
        raise InvalidParameter(
            f"unable to apply apparmor profile: {', '.join(missing)} is not loaded; load it with apparmor_parser(8), "
            f"{_LOADED} lists those that are"
        )


def _loaded() -> set[str]:
    """The names of the kernel's profiles: `NAME (MODE)` each."""
    return {line.rpartition(" (")[0] for line in _LOADED.read_text().splitlines()}


if __name__ == "__main__":
    # For /etc/apparmor.d, with the place where Debian's packages have an administrator's own lines.
    end = f"\n  include if exists <local/{DEFAULT_PROFILE}>\n}}\n"
    sys.stdout.write(default_profile().rstrip().removesuffix("}").rstrip() + end)
