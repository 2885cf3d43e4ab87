"""What the name server is to know of a sandbox."""

from __future__ import annotations

import pytest

from darse.networks.dns.registration import has_name_server, names_of, view_of
from darse.networks.endpoint_settings import endpoint_links
from darse.networks.model import Endpoint, NameLookup, SandboxRecord
from darse.resolver.zone import Zone
from darse.wire.networks import EndpointSettings

ID = "0123456789ab" + "c" * 52


def endpoint(name: str = "front", **options: object) -> Endpoint:
    options = {"address": "172.18.0.2", "prefix": 16, **options}
    return Endpoint(network_id=f"id of {name}", network_name=name, endpoint_id="e", **options)  # type: ignore[arg-type]


def sandbox(*endpoints: Endpoint, **options: object) -> SandboxRecord:
    return SandboxRecord(
        container_id=ID,
        container_name="web",
        sandbox_id="s",
        endpoints=list(endpoints),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("networks", "has"),
    [
        ((), False),
        (("bridge",), False),
        (("host",), False),
        (("none",), False),
        (("front",), True),
        (("bridge", "front"), True),
    ],
)
def test_user_defined_networks_have_names(networks: tuple[str, ...], has: bool) -> None:
    assert has_name_server(sandbox(*(endpoint(name) for name in networks))) is has


def test_names_once_each_and_the_containers_own_first() -> None:
    made = sandbox(endpoint(aliases=["www", "web"]), hostname="0123456789ab")
    assert names_of(made, made.endpoints[0]) == ["web", "www", "0123456789ab"]
    named = sandbox(endpoint(), hostname="shop")
    assert names_of(named, named.endpoints[0]) == ["web", "0123456789ab", "shop"]


def test_a_view_has_both_families_and_no_predefined_network() -> None:
    made = sandbox(
        endpoint("bridge", address="172.17.0.2"),
        endpoint(address6="fd00::2", prefix6=64, aliases=["www"], links={"cache": "redis"}),
        links={"db": "store"},
        dns=NameLookup(["192.0.2.1"], True),
    )
    view = view_of(made, lambda one: one.network_name == "front")
    assert view == {
        "id": ID,
        "endpoints": [
            {
                "network": "id of front",
                "name": "front",
                "names": ["web", "www", "0123456789ab"],
                "addresses": ["172.18.0.2", "fd00::2"],
                "links": {"db": "store", "cache": "redis"},
            }
        ],
        "servers": ["192.0.2.1"],
        "forward": True,
        "ndots": True,
    }
    assert view_of(made, lambda _: True)["forward"] is False
    assert Zone().replace(view).id == ID


def test_links_of_an_endpoint() -> None:
    settings = EndpointSettings(Links=["store:db", "/other", f"{ID}:old", "a:/web/b"])
    assert endpoint_links(settings) == {"db": "store", "other": "other", "old": "0123456789ab", "b": "a"}
