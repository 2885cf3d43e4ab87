"""Options of networks and of endpoints, as both commands send them and show them."""

from __future__ import annotations

import json

from tests.support.engine import BUSYBOX, Client

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"


def endpoint(cli: Client, container: str, network: str) -> dict[str, object]:
    """What inspect shows of a container's connection."""
    shown = json.loads(cli("inspect", container).ok().out)
    found: dict[str, object] = shown[0]["NetworkSettings"]["Networks"][network]
    return found


def test_a_network_of_both_families(cli: Client) -> None:
    options = ("--subnet", "10.245.1.0/24", "--ip-range", "10.245.1.128/25", "--gateway", "10.245.1.254")
    six = ("--ipv6", "--subnet", "fd00:245::/64", "--aux-address", "router=fd00:245::2")
    more = ("-o", "com.docker.network.bridge.gateway_mode_ipv6=routed", "--label", "a=b")
    cli("network", "create", *options, *six, *more, "both").ok()
    shown = json.loads(cli("network", "inspect", "both").ok().out)[0]
    assert (shown["EnableIPv4"], shown["EnableIPv6"]) == (True, True)
    # docker's command sends them in any order.
    assert sorted(shown["IPAM"]["Config"], key=lambda one: str(one["Subnet"])) == [
        {"Subnet": "10.245.1.0/24", "IPRange": "10.245.1.128/25", "Gateway": "10.245.1.254"},
        {"Subnet": "fd00:245::/64", "Gateway": "fd00:245::1", "AuxiliaryAddresses": {"router": "fd00:245::2"}},
    ]
    cli("run", "-d", "--name", "one", "--network", "both", BUSYBOX, "sleep", "100").ok()
    got = endpoint(cli, "one", "both")
    assert (got["IPAddress"], got["Gateway"]) == ("10.245.1.128", "10.245.1.254")
    assert (got["GlobalIPv6Address"], got["GlobalIPv6PrefixLen"], got["IPv6Gateway"]) == (
        "fd00:245::3",
        64,
        "fd00:245::1",
    )
    connected = json.loads(cli("network", "inspect", "both").ok().out)[0]["Containers"]
    assert [one["IPv6Address"] for one in connected.values()] == ["fd00:245::3/64"]
    assert cli("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.IPv6}}").ok().line == "both true"


def test_without_ipv4(cli: Client) -> None:
    cli("network", "create", "--ipv4=false", "--ipv6", "six").ok()
    out = cli("run", "--rm", "--network", "six", BUSYBOX, "ip", "-4", "address", "show", "eth0").ok().out
    assert "inet " not in out
    done = cli("network", "create", "--ipv4=false", "none4")
    assert done.status == 1
    assert "IPv4 or IPv6 must be enabled" in done.err


def test_every_option_of_an_endpoint(cli: Client) -> None:
    cli("network", "create", "--ipv6", "--subnet", "10.245.2.0/24", "--subnet", "fd00:246::/64", "net").ok()
    cli("network", "create", "other").ok()
    asked = (
        f"name=net,ip=10.245.2.9,ip6=fd00:246::9,mac-address=02:42:00:00:00:09,gw-priority=1,link-local-ip=169.254.9.9,"
        f"driver-opt={IFNAME}=wan0,driver-opt={SYSCTLS}=net.ipv4.conf.IFNAME.log_martians=1"
    )
    cli("run", "-d", "--name", "one", "--network", "other", "--network", asked, BUSYBOX, "sleep", "100").ok()
    out = cli("exec", "one", "ip", "address", "show", "wan0").ok().out
    for expected in ("10.245.2.9/24", "169.254.9.9/16", "fd00:246::9/64", "02:42:00:00:00:09"):
        assert expected in out
    assert "dev wan0" in cli("exec", "one", "ip", "route", "show", "default").ok().out
    assert cli("exec", "one", "cat", "/proc/sys/net/ipv4/conf/wan0/log_martians").ok().line == "1"
    assert endpoint(cli, "one", "net")["MacAddress"] == "02:42:00:00:00:09"


def test_macvlan_by_command(cli: Client) -> None:
    cli("network", "create", "-d", "macvlan", "--subnet", "10.245.3.0/24", "lan").ok()
    cli("run", "-d", "--name", "one", "--network", "lan", "--ip", "10.245.3.7", BUSYBOX, "sleep", "100").ok()
    assert cli("run", "--rm", "--network", "lan", BUSYBOX, "ping", "-c1", "-W2", "10.245.3.7").ok().status == 0
    assert "macvlan" in cli("network", "ls", "--filter", "driver=macvlan", "--format", "{{.Driver}}").ok().line


def test_drivers_that_are_refused(cli: Client) -> None:
    for driver, said in (
        ("overlay", "This node is not a swarm manager"),
        ("weave", 'plugin "weave" not found'),
    ):
        done = cli("network", "create", "-d", driver, "net")
        assert done.status == 1
        assert said in done.err
