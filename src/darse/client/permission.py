"""No permission to use the engine's socket: the commands that help on this machine."""

from __future__ import annotations

import os

# The groups that the engine gives its socket to, when one is there.
_GROUPS = ("docker", "darse")


def advice(path: str) -> str:
    """What to do to be let in by the socket at `path`."""
    import grp

    try:
        owner = os.stat(path).st_gid
        name = grp.getgrgid(owner).gr_name if owner else ""
    except (OSError, KeyError):
        name = ""
    if name:
        return f"be root, or join its group: `sudo usermod -aG {name} $USER`, then `newgrp {name}` or log in again"
    there = [group.gr_name for group in grp.getgrall() if group.gr_name in _GROUPS]
    first = next((one for one in _GROUPS if one in there), "")
    make = "" if first else "`sudo groupadd docker` and "
    return (
        f"be root, or join the group that may use it: {make}`sudo usermod -aG {first or 'docker'} $USER`, then "
        "`sudo darse system restart`, which gives the socket to that group, and log in again"
    )
