"""`null` and `host`: networks without links.

A sandbox on `none` is a namespace with a loopback and nothing else. A container on `host` has no sandbox at all, it
stays in the engine's namespace. There is one network of each kind.
"""

from __future__ import annotations

from darse.networks.drivers.base import KernelDriver


class NullDriver(KernelDriver):
    """Nothing but a loopback."""

    name = "null"
    addressed = False
    creatable = False
    network_mode = "none"


class HostDriver(NullDriver):
    """The host's own network stack."""

    name = network_mode = "host"
