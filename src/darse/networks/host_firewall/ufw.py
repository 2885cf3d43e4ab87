"""ufw(8), a host's firewall that is rules of iptables and a file that tells whether it is switched on."""

from __future__ import annotations

from pathlib import Path

CONFIGURATION = Path("/etc/ufw/ufw.conf")


def is_enabled(configuration: Path = CONFIGURATION) -> bool:
    """Whether ufw is installed and switched on; False where its configuration cannot be read."""
    try:
        lines = configuration.read_text(errors="replace").splitlines()
    except OSError:
        return False
    values = [line.partition("=")[2] for line in lines if line.partition("=")[0].strip() == "ENABLED"]
    return bool(values) and values[-1].strip().strip("\"'").lower() == "yes"
