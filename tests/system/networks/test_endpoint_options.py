"""What is asked of an endpoint: the interface's name, kernel parameters, more addresses, which one leads out."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.system.networks.support import Host, ask, run_inside

from darse.core.errors import InvalidParameter
from darse.networks.endpoint_settings import IFNAME, SYSCTLS
from darse.networks.model import Holder
from darse.wire.networks import EndpointIPAMConfig, EndpointSettings


def links(path: str) -> str:
    """The interfaces of a namespace."""
    return run_inside(path, "ip", "-brief", "link")


@pytest.mark.parametrize("network", ["bridge", "net"])
async def test_the_interface_s_name(host: Host, network: str) -> None:
    """Also on the default bridge, where a prepared namespace has an interface already."""
    await host.network("net")
    one = await host.sandbox("one", network, settings=EndpointSettings(DriverOpts={IFNAME: "wan0"}))
    assert "wan0" in links(one.path)
    assert "eth0" not in links(one.path)


async def test_names_are_given_around_those_that_are_asked_for(host: Host, holder: Callable[[str], int]) -> None:
    for name in ("net", "other", "third"):
        await host.network(name)
    one = await host.sandbox("one", "net", settings=EndpointSettings(DriverOpts={IFNAME: "eth1"}))
    held = Holder(holder(one.path), os.getpid())
    await host.service.connect("other", "one", held, EndpointSettings())
    await host.service.connect("third", "one", held, EndpointSettings())
    assert {line.partition("@")[0] for line in links(one.path).splitlines()} >= {"eth0", "eth1", "eth2"}


async def test_kernel_parameters(host: Host, holder: Callable[[str], int]) -> None:
    await host.network("net", ipv6=True)
    text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2"
    one = await host.sandbox("one", "bridge")
    held = Holder(holder(one.path), os.getpid())
    await host.service.connect("net", "one", held, EndpointSettings(DriverOpts={SYSCTLS: text}))
    inside = [f"/proc/sys/net/ipv{of}/conf/eth1/{name}" for of, name in ((4, "log_martians"), (6, "accept_ra"))]
    assert run_inside(one.path, "cat", *inside).split() == ["1", "2"]


async def test_more_addresses(host: Host) -> None:
    await host.network("net", ipv6=True)
    more = EndpointSettings(IPAMConfig=EndpointIPAMConfig(LinkLocalIPs=["169.254.7.7", "fe80::7"]))
    one = await host.sandbox("one", "net", settings=more)
    shown = run_inside(one.path, "ip", "-o", "address", "show", "eth0")
    assert "169.254.7.7/16" in shown
    assert "fe80::7/64" in shown


@pytest.mark.parametrize("of", [4, 6])
async def test_the_highest_priority_leads_out(host: Host, holder: Callable[[str], int], of: int) -> None:
    for name in ("net", "other"):
        await host.network(name, ipv6=True)
    one = await host.sandbox("one", "net")
    held = Holder(holder(one.path), os.getpid())

    def leading() -> str:
        return run_inside(one.path, "ip", f"-{of}", "route", "show", "default").split("dev ")[1].split()[0]

    assert leading() == "eth0"
    await host.service.connect("other", "one", held, EndpointSettings(GwPriority=1))
    assert leading() == "eth1"
    await host.service.disconnect("other", "one", held)
    assert leading() == "eth0"


async def test_a_chosen_ipv6_address(host: Host) -> None:
    await host.network("net", "10.253.9.0/24", ipv6=True)
    subnet = host.service.store.get("net").pools[1].network
    wanted = EndpointSettings(IPAMConfig=EndpointIPAMConfig("10.253.9.9", str(subnet[9])))
    one = await host.sandbox("one", "net", settings=wanted)
    assert one.addresses == ["10.253.9.9", str(subnet[9])]
    host.serve(one, ip="::")
    assert ask(None, str(subnet[9]), 80).startswith("one ")
    outside = EndpointSettings(IPAMConfig=EndpointIPAMConfig("", "2001:db8::1"))
    with pytest.raises(InvalidParameter, match="no configured subnet contains IP address"):
        await host.sandbox("two", "net", settings=outside)
