"""Subnets and addresses."""

from __future__ import annotations

from ipaddress import IPv4Address as Address
from ipaddress import IPv4Network as Network
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.config import AddressPool
from darse.core.errors import Conflict, Forbidden, InvalidParameter
from darse.networks.ipam.allocator import REST, AddressAllocator, mac_for
from darse.networks.ipam.default import choose_subnet, unique_local_prefix

POOLS = (AddressPool("172.17.0.0/16", 16), AddressPool("10.0.0.0/22", 24))


def test_first_free_subnet_of_the_first_pool() -> None:
    assert choose_subnet(POOLS, []) == Network("172.17.0.0/16")


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        (["172.17.0.0/16"], "10.0.0.0/24"),
        (["172.17.42.0/24"], "10.0.0.0/24"),
        (["172.16.0.0/12", "10.0.0.0/25"], "10.0.1.0/24"),
        (["172.17.0.1/32", "10.0.0.0/23"], "10.0.2.0/24"),
    ],
)
def test_a_subnet_overlaps_nothing_that_is_taken(taken: list[str], chosen: str) -> None:
    assert choose_subnet(POOLS, map(Network, taken)) == Network(chosen)


def test_pools_run_out() -> None:
    with pytest.raises(Conflict, match="all predefined address pools have been fully subnetted"):
        choose_subnet(POOLS, [Network("172.17.0.0/16"), Network("10.0.0.0/8")])


def test_addresses_follow_the_gateway_and_a_released_one_is_the_last_to_come_again() -> None:
    allocator = AddressAllocator(Network("10.1.0.0/29"), [Address("10.1.0.1")])
    given_out = [str(allocator.allocate()) for _ in range(3)]
    assert given_out == ["10.1.0.2", "10.1.0.3", "10.1.0.4"]
    allocator.release(Address("10.1.0.2"))
    assert [str(allocator.allocate()) for _ in range(3)] == ["10.1.0.5", "10.1.0.6", "10.1.0.2"]


def test_network_and_broadcast_addresses_are_nobodys() -> None:
    allocator = AddressAllocator(Network("10.1.0.0/30"), [])
    assert {str(allocator.allocate()) for _ in range(2)} == {"10.1.0.1", "10.1.0.2"}
    with pytest.raises(Conflict, match="no available IPv4 addresses on this network's address pools"):
        allocator.allocate()


def test_an_address_asked_for() -> None:
    allocator = AddressAllocator(Network("10.1.0.0/24"), [Address("10.1.0.1")])
    assert allocator.allocate(Address("10.1.0.77")) == Address("10.1.0.77")
    with pytest.raises(Forbidden, match="Address already in use"):
        allocator.allocate(Address("10.1.0.77"))
    with pytest.raises(Forbidden, match="Address already in use"):
        allocator.allocate(Address("10.1.0.1"))
    with pytest.raises(InvalidParameter, match=r"no configured subnet contains IP address 10\.2\.0\.1"):
        allocator.allocate(Address("10.2.0.1"))


def test_a_range_narrows_what_is_given_but_not_what_may_be_asked_for() -> None:
    allocator = AddressAllocator(Network("10.1.0.0/24"), [Address("10.1.0.1")], Network("10.1.0.64/30"))
    assert {str(allocator.allocate()) for _ in range(4)} == {f"10.1.0.{number}" for number in range(64, 68)}
    assert allocator.allocate(Address("10.1.0.9")) == Address("10.1.0.9")


def test_counts_are_of_the_subnet_and_of_the_range() -> None:
    """As docker counts: what nobody can have is in use; only what the range has left is available."""
    allocator = AddressAllocator(Network("10.1.0.0/16"), [Address("10.1.0.1")])
    assert allocator.counts() == (3, 65533)
    narrow = AddressAllocator(Network("10.1.0.0/24"), [Address("10.1.0.1")], Network("10.1.0.64/30"))
    narrow.allocate()
    narrow.allocate(Address("10.1.0.9"))
    assert narrow.counts() == (5, 3)


def test_restored_addresses_are_taken() -> None:
    allocator = AddressAllocator(Network("10.1.0.0/24"), [Address("10.1.0.1")])
    allocator.restore(Address("10.1.0.2"))
    assert str(allocator.allocate()) == "10.1.0.3"


@given(st.lists(st.integers(0, 13), max_size=80))
def test_no_address_has_two_owners(steps: list[int]) -> None:
    """Any order of taking and giving back: what is given is free, inside, and nobody's reserved one."""
    network = Network("10.1.0.0/28")
    allocator = AddressAllocator(network, [Address("10.1.0.1")])
    owned: list[Address] = []
    for step in steps:
        if step % 2 and owned:
            allocator.release(owned.pop(step % len(owned)))
        elif len(owned) < 13:
            address = allocator.allocate()
            assert address not in owned
            assert address in network
            assert address not in (network.network_address, network.broadcast_address, Address("10.1.0.1"))
            owned.append(address)


def test_hardware_addresses_are_docker_s() -> None:
    assert mac_for(Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_a_released_address_rests_while_there_are_others() -> None:
    now = [0.0]
    allocator = AddressAllocator(Network("10.1.0.0/29"), [Address("10.1.0.1")], clock=lambda: now[0])
    given_out = [allocator.allocate() for _ in range(4)]
    allocator.release(given_out[3])
    allocator.release(given_out[0])
    assert str(allocator.allocate()) == "10.1.0.6"
    # None is left that has rested: the one that was released first.
    assert [str(allocator.allocate()) for _ in range(2)] == ["10.1.0.5", "10.1.0.2"]
    allocator.release(given_out[1])
    allocator.release(given_out[0])
    now[0] += REST + 1
    assert str(allocator.allocate()) == "10.1.0.3"


def test_an_ipv6_pool_is_not_walked() -> None:
    allocator = AddressAllocator(IPv6Network("fd00:1::/64"), [IPv6Address("fd00:1::1")])
    assert [str(allocator.allocate()) for _ in range(2)] == ["fd00:1::2", "fd00:1::3"]
    allocator.restore(IPv6Address("fd00:1::ffff:ffff:ffff:ffff"))
    assert str(allocator.allocate()) == "fd00:1::4"
    with pytest.raises(Forbidden, match="Address already in use"):
        allocator.allocate(IPv6Address("fd00:1::"))


def test_small_ipv6_numbers_are_ipv6() -> None:
    assert isinstance(AddressAllocator(IPv6Network("::/96"), [IPv6Address("::1")]).allocate(), IPv6Address)


@given(st.lists(st.integers(0, 255), max_size=20))
def test_chosen_subnets_are_the_first_free_ones(octets: list[int]) -> None:
    taken = [Network(f"10.0.{octet}.0/24") for octet in octets]
    free = [number for number in range(256) if number not in octets]
    assert choose_subnet([AddressPool("10.0.0.0/16", 24)], taken) == Network(f"10.0.{free[0]}.0/24")


def test_ipv6_subnets_come_from_a_unique_local_prefix_of_the_engine() -> None:
    prefix = unique_local_prefix("one")
    assert IPv6Network(prefix).subnet_of(IPv6Network("fd00::/8"))
    assert prefix == unique_local_prefix("one") != unique_local_prefix("other")
    pools = [*POOLS, AddressPool(prefix, 64)]
    first = choose_subnet(pools, [], 6)
    assert first == IPv6Network((IPv6Network(prefix).network_address, 64))
    assert choose_subnet(pools, [first, Network("172.17.0.0/16")], 6) != first
