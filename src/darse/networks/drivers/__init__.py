"""Network drivers: how a network exists on the host, and how a sandbox is connected to it.

Vocabulary (libnetwork's)

    network    a named set of sandboxes that can reach each other; `NetworkRecord` is what is stored of it
    sandbox    a network stack: a network namespace, and an endpoint for each network
    endpoint   a sandbox's connection to one network: an interface inside, addresses, and what the driver has outside
    link       the name of what the driver has on the host for an endpoint (a veth's outer end); empty for nothing
    addressed  a network with pools, of which an IPAM driver gives its endpoints addresses

Life cycle

    check → create_network → (create_endpoint → join → leave → delete_endpoint)* → delete_network
                                                  ↘ program_external_connectivity → revoke_external_connectivity

A network comes to be with `check` (may it be so?) and `create_network` (have it on the host). `create_network` is
called again for every network whenever the engine starts, after a crash at any instant, and with the containers of the
last engine still running: it must take over what is there, make what is missing and leave a right network alone.

An endpoint comes with `create_endpoint`, which may decide its hardware address or, in drivers that give addresses
themselves, its addresses. A sandbox gets its interface with `join`, which says how that is to be used (`JoinResult`);
the service then gives it addresses and routes. The endpoint that leads out of its sandbox hears so by
`program_external_connectivity`. It goes with `leave` and `delete_endpoint`; when the container's end is the reason, the
kernel takes interfaces by itself, and only drivers that keep something outside of it (`keeps_outside`) are called:
they are, also when the engine was killed in between. `delete_network` is called without endpoints.

Every verb may take as long as its driver does: none is called under a lock that others need. Drivers know neither
published ports' numbers on the host nor the database: those are the service's. Nothing of a local driver's data path
may need a running engine.

`tests/system/networks/driver_suite.py` holds what every driver must show.
"""

from darse.networks.drivers.base import Driver, EndpointResult, JoinResult
from darse.networks.drivers.bridge import BridgeDriver
from darse.networks.drivers.ipvlan import IpvlanDriver
from darse.networks.drivers.macvlan import MacvlanDriver
from darse.networks.drivers.null import HostDriver, NullDriver

__all__ = [
    "BridgeDriver",
    "Driver",
    "EndpointResult",
    "HostDriver",
    "IpvlanDriver",
    "JoinResult",
    "MacvlanDriver",
    "NullDriver",
]
