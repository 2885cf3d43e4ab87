"""From where a container is reached, and by what: the kinds of networks by who asks by family, with real containers.

Who asks: the host, another machine (`outside`, on the wire of macvlan's and ipvlan's parent, with a route where there
is one to have), a container of the same network (`sibling`) and one of another (`stranger`).

What is asked: the container's own address, its port published on the host's address, and its name. What bridges do with
gateway modes, --internal and icc is in test_reachability.py, by protocol.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from tests.support.dnspython import dns
from tests.support.engine import BUSYBOX, Engine
from tests.system.networks.kernel import NEEDS_IPVLAN, NEEDS_MACVLAN
from tests.system.networks.support import Echo, Outside, ask, inside, run_inside

FAMILIES = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
WHAT = ("address", "published", "name")
TYPES = {4: "A", 6: "AAAA"}


class Kind(NamedTuple):
    """A kind of network: how it is made, and one letter for each of WHAT by who asks: y(es), n(o), - (no question)."""

    options: tuple[str, ...]
    reached: dict[str, str]
    #: Whether its addresses are on the wire of the parent, or routed to it.
    neighbours: bool = False
    routed: bool = False


PARENT = "PARENT"
ON_THE_WIRE = {"host": "nn-", "outside": "yn-", "sibling": "yny", "stranger": "nnn"}


def on_parent(driver: str, mode: str) -> tuple[str, ...]:
    """The options of `network create` for a network on the link PARENT."""
    return ("-d", driver, "-o", f"parent={PARENT}", "-o", f"{driver}_mode={mode}")


KINDS = {
    "bridge": Kind((), {"host": "yy-", "outside": "ny-", "sibling": "yyy", "stranger": "nyn"}),
    "macvlan": Kind(on_parent("macvlan", "bridge"), ON_THE_WIRE, neighbours=True),
    "macvlan private": Kind(on_parent("macvlan", "private"), {**ON_THE_WIRE, "sibling": "nny"}, neighbours=True),
    "ipvlan l2": Kind(on_parent("ipvlan", "l2"), ON_THE_WIRE, neighbours=True),
    "ipvlan l3": Kind(on_parent("ipvlan", "l3"), ON_THE_WIRE, routed=True),
    "ipvlan l3s": Kind(on_parent("ipvlan", "l3s"), ON_THE_WIRE, routed=True),
}
MARKS = {"macvlan": NEEDS_MACVLAN, "ipvlan": NEEDS_IPVLAN, "bridge": ()}


class Network:
    """Containers of an engine, by their namespaces, and what may be asked of them."""

    def __init__(self, engine: Engine, outside: Outside) -> None:
        self.engine, self.outside = engine, outside
        self.paths: dict[str, str | None] = {"host": None, "outside": outside.path}
        self.servers: list[Echo] = []

    def run(self, name: str, *options: str) -> str:
        """Start a container; return the path of its namespace."""
        self.engine.docker("run", "-d", "--name", name, *options, BUSYBOX, "sleep", "1000").ok()
        pid = self.engine.docker("inspect", "-f", "{{.State.Pid}}", name).ok().line
        self.paths[name] = f"/proc/{pid}/ns/net"
        return f"/proc/{pid}/ns/net"

    def serve(self, path: str | None, port: int) -> None:
        """Have a server called `target` there, on both families."""
        self.servers += [Echo(path, port, "target", ip=ip) for ip in ("0.0.0.0", "::")]

    def reached(self, who: str, address: str, port: int, *, expected: bool) -> bool:
        """Whether the server called `target` answers there; what is not expected to, gets less time."""
        try:
            return ask(self.paths[who], address, port, seconds=3 if expected else 0.4).startswith("target ")
        except OSError:
            return False

    def found(self, who: str, name: str, version: int) -> list[str]:
        """The addresses that a container's name server has for a name."""
        query = dns.message.make_query(name, TYPES[version])
        path = self.paths[who]
        assert path is not None
        answer = inside(path, lambda: dns.query.udp(query, "127.0.0.11", timeout=15))
        return [str(one) for found in answer.answer for one in found]

    def close(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.close()


@pytest.fixture
def network(engine: Engine, outside: Outside) -> Iterator[Network]:
    network = Network(engine, outside)
    yield network
    network.close()


def addresses_of(engine: Engine, container: str, network: str) -> dict[int, str]:
    """A container's addresses on a network, by family."""
    shown = engine.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", container).ok().line
    endpoint = json.loads(shown)[network]
    return {4: endpoint["IPAddress"], 6: endpoint["GlobalIPv6Address"]}


def lead_outside(network: Network, kind: Kind, families: tuple[int, ...]) -> None:
    """Give the other machine an address among the network's, or routes to them."""
    shown = network.engine.docker("network", "inspect", "-f", "{{json .IPAM.Config}}", "net").ok().line
    for pool in json.loads(shown):
        version, prefix = 6 if ":" in pool["Subnet"] else 4, pool["Subnet"].partition("/")[2]
        assert version in families
        if kind.neighbours:
            more = ("nodad",) if version == 6 else ()
            command = ("ip", "address", "add", f"{pool['Gateway']}/{prefix}", "dev", "eth0", *more)
            run_inside(network.outside.path, *command)
        else:
            network.outside.route(pool["Subnet"])


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=MARKS[name.partition(" ")[0]]) for name, one in KINDS.items()], ids=KINDS
)
def test_the_table(network: Network, kind: Kind, families: tuple[int, ...]) -> None:
    docker, outside, port = network.engine.docker, network.outside, 20000 + secrets.randbelow(10000)
    wanted = [f"--ipv4={str(4 in families).lower()}", f"--ipv6={str(6 in families).lower()}"]
    docker("network", "create", *wanted, *(one.replace(PARENT, outside.link) for one in kind.options), "net").ok()
    docker("network", "create", "--ipv6", "other").ok()
    network.serve(network.run("target", "--network", "net", "-p", f"{port}:80"), 80)
    network.run("sibling", "--network", "net")
    network.run("stranger", "--network", "other")
    lead_outside(network, kind, families)
    own, published = addresses_of(network.engine, "target", "net"), {4: outside.host_ip, 6: outside.host_ip6}
    expected = {
        (who, what, version): letter == "y"
        for who, letters in kind.reached.items()
        for what, letter in zip(WHAT, letters, strict=True)
        for version in families
        if letter != "-"
    }

    def answer(who: str, what: str, version: int) -> bool:
        if what == "name":
            return network.found(who, "target", version) == [own[version]]
        to = (own[version], 80) if what == "address" else (published[version], port)
        return network.reached(who, *to, expected=expected[who, what, version])

    with ThreadPoolExecutor(16) as pool:
        answers = dict(zip(expected, pool.map(lambda question: answer(*question), expected), strict=True))
    assert answers == expected


def test_the_default_bridge_has_no_names(network: Network) -> None:
    port = 20000 + secrets.randbelow(10000)
    network.serve(network.run("target", "-p", f"{port}:80"), 80)
    network.run("sibling")
    network.engine.docker("network", "create", "other").ok()
    network.run("stranger", "--network", "other")
    network.outside.route(addresses_of(network.engine, "target", "bridge")[4])
    own, published = (addresses_of(network.engine, "target", "bridge")[4], 80), (network.outside.host_ip, port)
    direct = {who: network.reached(who, *own, expected=who in ("host", "sibling")) for who in network.paths}
    del direct["target"]
    assert direct == {"host": True, "outside": False, "sibling": True, "stranger": False}
    assert all(network.reached(who, *published, expected=True) for who in network.paths)
    assert "127.0.0.11" not in network.engine.docker("exec", "sibling", "cat", "/etc/resolv.conf").ok().out
    assert network.found("stranger", "target", 4) == []


def test_the_hosts_network_is_the_hosts(network: Network) -> None:
    port = 20000 + secrets.randbelow(10000)
    network.engine.docker("network", "create", "--ipv6", "other").ok()
    target = network.run("target", "--network", "host")
    network.run("sibling", "--network", "host")
    network.run("stranger", "--network", "other")
    network.serve(target, port)
    for address in (network.outside.host_ip, network.outside.host_ip6):
        assert all(network.reached(who, address, port, expected=True) for who in network.paths)
    for address in ("127.0.0.1", "::1"):
        reached = {
            who: network.reached(who, address, port, expected=who not in ("outside", "stranger"))
            for who in network.paths
        }
        assert reached == {"host": True, "outside": False, "target": True, "sibling": True, "stranger": False}
    assert network.found("stranger", "target", 4) == []


def test_a_container_without_a_network_reaches_itself_alone(network: Network) -> None:
    path = network.run("target", "--network", "none")
    network.serve(path, 80)
    assert network.reached("target", "127.0.0.1", 80, expected=True)
    assert not network.reached("target", network.outside.host_ip, 80, expected=False)
    links = json.loads(run_inside(path, "ip", "-json", "link"))
    assert [one["ifname"] for one in links if "UP" in one["flags"]] == ["lo"]
    assert not run_inside(path, "ip", "route", "show", "table", "main")


@pytest.mark.parametrize("version", [4, 6])
def test_a_container_in_anothers_network_is_that_one(network: Network, version: int) -> None:
    """Its servers are reached as the owner's, by the owner's name and ports."""
    docker, port = network.engine.docker, 20000 + secrets.randbelow(10000)
    docker("network", "create", "--ipv6", "net").ok()
    docker("network", "create", "--ipv6", "other").ok()
    network.run("owner", "--network", "net", "-p", f"{port}:80")
    network.serve(network.run("target", "--network", "container:owner"), 80)
    network.run("sibling", "--network", "net")
    network.run("stranger", "--network", "other")
    own = addresses_of(network.engine, "owner", "net")[version]
    published = network.outside.host_ip6 if version == 6 else network.outside.host_ip
    askers = ("host", "outside", "owner", "sibling", "stranger")
    reached = {who: network.reached(who, own, 80, expected=who not in ("outside", "stranger")) for who in askers}
    assert reached == {"host": True, "outside": False, "owner": True, "sibling": True, "stranger": False}
    assert all(network.reached(who, published, port, expected=True) for who in askers)
    assert network.found("sibling", "owner", version) == [own]
    assert network.found("target", "sibling", version) == [addresses_of(network.engine, "sibling", "net")[version]]
    refused = docker("run", "-d", "-p", "81:81", "--network", "container:owner", BUSYBOX, "true")
    assert "conflicting options: port publishing and the container type network mode" in refused.err
