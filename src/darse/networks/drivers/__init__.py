"""Network drivers: how a network exists on the host, and how a sandbox is connected to it.

Vocabulary

    network    a named set of sandboxes that can reach each other; `NetworkRecord` is what is stored of it
    sandbox    the network stack of one running container: a network namespace, and an endpoint for each network
    endpoint   a sandbox's connection to one network: an interface inside, an address, and what the driver has outside
    link       the name of what the driver has outside for an endpoint (a veth's host end); empty when there is nothing
    addressed  a network whose subnet, gateway and addresses are given by this engine

Life cycle

    check → restore → (connect → disconnect)* → remove

A network comes to be with `check` (may it be so?) and `restore` (have it on the host). `restore` is called again for
every network whenever the engine starts, after a crash at any instant, and with the containers of the last engine
still running: it must take over what is there, make what is missing and leave a right network alone. An endpoint comes
with `connect` and goes with `disconnect`, or by itself when the kernel drops the container's namespace: a driver must
keep nothing outside of the kernel that has to be cleaned up then. `remove` is called without endpoints.

Drivers know neither addresses of endpoints nor published ports nor the database: those are the service's. Nothing of
a driver's data path may need a running engine.

`tests/system/networks/driver_suite.py` holds what every driver must show.
"""

from darse.networks.drivers.base import Driver
from darse.networks.drivers.bridge import BridgeDriver
from darse.networks.drivers.null import HostDriver, NullDriver

__all__ = ["BridgeDriver", "Driver", "HostDriver", "NullDriver"]
