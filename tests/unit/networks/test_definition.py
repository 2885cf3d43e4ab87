"""What may be asked for when a network is made, in docker's words."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.config import AddressPool
from darse.core.errors import EngineError, Forbidden, InvalidParameter
from darse.networks import options
from darse.networks.definition import check_name, check_request, define, lease_pool, pool_requests
from darse.networks.endpoint_settings import check_mac, check_settings, interface_name, link_local, sysctls
from darse.networks.ipam import DefaultIPAM
from darse.networks.model import NetworkRecord, SubnetPool
from darse.wire.networks import (
    IPAM,
    EndpointIPAMConfig,
    EndpointSettings,
    IPAMConfig,
    NetworkCreate,
)

FREE = ipaddress.IPv4Network("172.18.0.0/16")
OTHER = NetworkRecord(
    id="1", name="other", driver="bridge", created_ns=0, pools=[SubnetPool(subnet="10.9.0.0/16", gateway="10.9.0.1")]
)


def made(*ranges: IPAMConfig, **members: Any) -> NetworkRecord:
    """The record that a request comes down to, with pools of the engine's own address management."""
    request = NetworkCreate(Name="net", IPAM=IPAM(Config=list(ranges)), **members)
    ipam = DefaultIPAM([AddressPool(str(FREE), 16)], lambda _: ())
    ipam.restore_pool(OTHER.pools[0], {})
    asked = pool_requests(request)
    record = define(request, "bridge")
    for wanted, config in asked:
        pool = asyncio.run(lease_pool(ipam, wanted, config))
        assert pool is not None
        record.pools.append(pool)
    return record


def test_without_ranges_the_pools_give_a_subnet() -> None:
    record = made()
    assert (record.subnet, record.gateway) == ("172.18.0.0/16", "172.18.0.1")
    assert record.bridge.startswith("db")
    assert len(record.bridge) <= 15


def test_what_was_asked_for() -> None:
    record = made(
        IPAMConfig("10.1.0.0/24", "10.1.0.128/25", "10.1.0.254", {"router": "10.1.0.2"}),
        Internal=True,
        Labels={"a": "b"},
        Options={"com.docker.network.bridge.name": "mine"},
    )
    assert record.subnet == "10.1.0.0/24"
    assert record.gateway == "10.1.0.254"
    assert record.pools[0].ip_range == "10.1.0.128/25"
    assert record.pools[0].reserved == {"router": "10.1.0.2"}
    assert record.internal
    assert record.bridge == "mine"


def test_the_gateway_is_the_first_free_address_of_the_range() -> None:
    assert made(IPAMConfig("10.1.0.0/24", "10.1.0.128/25")).gateway == "10.1.0.128"
    assert made(IPAMConfig("10.1.0.0/24", AuxiliaryAddresses={"a": "10.1.0.1"})).gateway == "10.1.0.2"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (IPAMConfig("foobar"), "invalid subnet foobar: invalid CIDR block notation"),
        (IPAMConfig("10.0.0.0"), "invalid subnet 10.0.0.0: invalid CIDR block notation"),
        (IPAMConfig("10.0.0.0/33"), "invalid subnet 10.0.0.0/33: invalid CIDR block notation"),
        (IPAMConfig("10.10.10.0/8"), "invalid subnet 10.10.10.0/8: it should be 10.0.0.0/8"),
        (IPAMConfig("10.0.0.0/31"), "no room for a gateway"),
        (IPAMConfig("0.0.0.0/0"), "or is everything"),
        (IPAMConfig("127.0.0.0/8"), "cannot be given to containers"),
        (IPAMConfig("224.0.0.0/24"), "cannot be given to containers"),
        (IPAMConfig("10.0.0.0/8", "foobar"), "invalid ip-range foobar: invalid CIDR block notation"),
        (IPAMConfig("10.0.0.0/8", "192.168.0.1/24"), "invalid ip-range 192.168.0.1/24: it should be 192.168.0.0/24"),
        (
            IPAMConfig("10.0.0.0/8", "192.168.0.0/24"),
            "invalid ip-range 192.168.0.0/24: parent subnet 10.0.0.0/8 doesn't contain ip-range",
        ),
        (
            IPAMConfig("10.1.1.0/24", "10.0.0.0/8"),
            "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.1.0/24",
        ),
        (IPAMConfig("10.0.0.0/8", "2001:db8::/32"), "invalid ip-range 2001:db8::/32: parent subnet is an IPv4 block"),
        (IPAMConfig("10.0.0.0/8", Gateway="1001.1.1.1"), "invalid gateway 1001.1.1.1: invalid address"),
        (
            IPAMConfig("10.0.0.0/8", Gateway="192.168.0.1"),
            "invalid gateway 192.168.0.1: parent subnet 10.0.0.0/8 doesn't contain this address",
        ),
        (
            IPAMConfig("10.0.0.0/8", AuxiliaryAddresses={"DNS": "dummy"}),
            "invalid auxiliary address DNS: invalid address",
        ),
        (IPAMConfig(Gateway="10.0.0.1"), "invalid subnet : invalid CIDR block notation"),
    ],
)
def test_ranges_that_are_refused(asked: IPAMConfig, said: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        made(asked)
    assert str(refused.value).startswith("invalid network config:\n")
    assert said in str(refused.value)


def test_every_mistake_is_told() -> None:
    with pytest.raises(InvalidParameter) as refused:
        made(IPAMConfig("10.10.10.0/8", "foobar", "dummy"))
    assert len(str(refused.value).splitlines()) == 4


def test_a_subnet_must_not_overlap_another_network_s() -> None:
    for subnet in ("10.9.0.0/16", "10.9.8.0/24", "10.0.0.0/8"):
        with pytest.raises(Forbidden, match="SubnetPool overlaps with other one on this address space"):
            made(IPAMConfig(subnet))


def test_several_subnets_must_not_overlap_each_other() -> None:
    record = made(IPAMConfig("10.1.0.0/24"), IPAMConfig("10.2.0.0/24"))
    assert [pool.subnet for pool in record.pools] == ["10.1.0.0/24", "10.2.0.0/24"]
    with pytest.raises(InvalidParameter, match=r"invalid subnet 10\.1\.0\.128/25: it overlaps 10\.1\.0\.0/24"):
        made(IPAMConfig("10.1.0.0/24"), IPAMConfig("10.1.0.128/25"))


def test_each_subnet_that_another_one_holds_is_named() -> None:
    texts = ("10.1.0.0/25", "10.9.0.0/24", "10.1.0.0/16", "10.1.7.0/24", "10.9.0.0/24")
    with pytest.raises(InvalidParameter) as refused:
        made(*map(IPAMConfig, texts))
    assert str(refused.value).splitlines()[1:] == [
        "invalid subnet 10.1.0.0/25: it overlaps 10.1.0.0/16",
        "invalid subnet 10.1.7.0/24: it overlaps 10.1.0.0/16",
        "invalid subnet 10.9.0.0/24: it overlaps 10.9.0.0/24",
    ]


def test_the_number_of_subnets_is_bounded() -> None:
    asked = [IPAMConfig(f"10.1.{number}.0/24") for number in range(256)]
    begun = time.thread_time()
    assert len(made(*asked).pools) == 256
    with pytest.raises(InvalidParameter, match="257 subnets: a network has 256 at most"):
        made(*asked, IPAMConfig("10.2.0.0/24"))
    assert time.thread_time() - begun < 2


def test_both_families() -> None:
    record = made(EnableIPv6=True)
    four, six = record.pools
    assert (four.subnet, four.gateway) == (str(FREE), "172.18.0.1")
    assert ipaddress.IPv6Network(six.subnet).prefixlen == 64
    assert six.gateway == str(ipaddress.IPv6Network(six.subnet)[1])
    asked = made(IPAMConfig("2001:db8:1::/64", Gateway="2001:db8:1::9"), EnableIPv6=True, EnableIPv4=False)
    assert [(pool.subnet, pool.gateway) for pool in asked.pools] == [("2001:db8:1::/64", "2001:db8:1::9")]


def test_an_ipv6_range_without_ipv6_is_left_out() -> None:
    assert made(IPAMConfig("2001:db8::/64")).subnet == str(FREE)


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_blank_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a b", "@#$%^&*", "-a", "a/b", "ü", "a" * 300, "Bridge"])
def test_any_other_name_will_do(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["bridge", "host", "none", "default", "container"])
def test_names_with_a_meaning(name: str) -> None:
    with pytest.raises(Forbidden, match=f"operation is not permitted on predefined {name} network"):
        check_name(name)


@pytest.mark.parametrize("name", ["n", "my-net_1.2", "_x", "a" * 255])
def test_names_that_are_fine(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "members",
    [
        {"Scope": "swarm"},
        {"EnableIPv4": False},
    ],
)
def test_requests_for_what_there_is_not(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        check_request(NetworkCreate(Name="net", **members))


def test_ingress_networks_need_a_cluster() -> None:
    with pytest.raises(Forbidden, match="Ingress network can only be global scope network"):
        check_request(NetworkCreate(Name="net", Ingress=True))


WORDS = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){0,4}(/[0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"[0-9a-f:]{0,20}(/[0-9]{0,3})?(%[a-z]{0,3})?", fullmatch=True),
)


@given(WORDS, WORDS, WORDS, st.dictionaries(WORDS, WORDS, max_size=2))
def test_any_text_is_a_network_or_refused(subnet: str, ip_range: str, gateway: str, reserved: dict[str, str]) -> None:
    with contextlib.suppress(EngineError):
        for pool in made(IPAMConfig(subnet, ip_range, gateway, reserved), EnableIPv6=True).pools:
            assert ipaddress.ip_address(pool.gateway) in pool.network
            assert pool.network.prefixlen <= (30 if pool.version == 4 else 126)


@given(WORDS, st.sampled_from([options.MTU, options.HOST_BINDING, options.ICC, options.MASQUERADE]))
def test_any_text_is_an_option_or_refused(text: str, name: str) -> None:
    record = msgspec.structs.replace(OTHER, options={name: text})
    for read, kinds in (
        (options.mtu, int),
        (options.host_address, str),
        (lambda one: options.flag(one, name), bool),
    ):
        with contextlib.suppress(InvalidParameter):
            assert isinstance(read(record), kinds)


@given(WORDS)
def test_any_text_is_a_hardware_address_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidParameter):
        check_mac(text)
        assert len(text) in (0, 17)


@given(WORDS)
def test_any_text_is_an_endpoint_s_option_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidParameter):
        assert interface_name({"com.docker.network.endpoint.ifname": text}) == text
    with contextlib.suppress(InvalidParameter):
        found = sysctls({"com.docker.network.endpoint.sysctls": text})
        assert all(name.startswith("net/") for name in found)
    assert interface_name({"com.docker.network.endpoint.sysctls": text}) == ""
    assert not sysctls({"com.docker.network.endpoint.ifname": text})


@pytest.mark.parametrize("name", ["a/b", "..", "all", "default", "lo", "sixteen-letters-", "a b", "a:1"])
def test_interface_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid interface name"):
        interface_name({"com.docker.network.endpoint.ifname": name})


def test_parameters_of_an_interface() -> None:
    option = "com.docker.network.endpoint.sysctls"
    text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0"
    assert sysctls({option: text}) == {
        "net/ipv4/conf/IFNAME/log_martians": "1",
        "net/ipv6/conf/IFNAME/accept_ra": "0",
    }
    assert sysctls({option: "net.ipv4.conf.ifname.log_martians=1"}) == {"net/ipv4/conf/IFNAME/log_martians": "1"}
    for refused in ("kernel.core_pattern=x", "net.ipv4.conf.eth0.rp_filter=1", "net.ipv4.conf.IFNAME.../x=1", "x"):
        with pytest.raises(InvalidParameter, match="invalid sysctl"):
            sysctls({option: refused})


def test_link_local_addresses() -> None:
    assert str(link_local("169.254.1.2")) == "169.254.1.2/16"
    assert str(link_local("fe80::9")) == "fe80::9/64"
    asked = EndpointSettings(IPAMConfig=EndpointIPAMConfig(LinkLocalIPs=["nonsense"]))
    with pytest.raises(InvalidParameter, match="invalid link-local IP address: nonsense"):
        check_settings(asked)
