"""What this kernel has of links; tests that need more are skipped by its name."""

from __future__ import annotations

import os

import pytest

from darse.linux.net.rtnetlink import Netlink


def kernel_has(kind: str) -> bool:
    """Whether this kernel has links of a kind."""
    if os.geteuid():
        return False
    netlink = Netlink()
    try:
        return netlink.has_kind(kind)
    finally:
        netlink.close()


NEEDS_MACVLAN = pytest.mark.skipif(not kernel_has("macvlan"), reason="the kernel has no macvlan")
NEEDS_IPVLAN = pytest.mark.skipif(not kernel_has("ipvlan"), reason="the kernel has no ipvlan")
NEEDS_VLAN = pytest.mark.skipif(not kernel_has("vlan"), reason="the kernel has no VLANs (802.1q)")
