"""What is answered to whom: one table, asked and read by dnspython."""

from __future__ import annotations

from typing import Any

import pytest

from darse.resolver import answers, message
from darse.resolver.zone import Zone
from tests.support.dnspython import dns

FRONT, BACK, DOTTED, LEGACY = "1f", "2b", "3d", "4l"


def endpoint(
    network: str, name: str, names: str, *addresses: str, links: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "network": network,
        "name": name,
        "names": names.split(),
        "addresses": list(addresses),
        "links": links or {},
    }


def view(id_: str, *endpoints: dict[str, Any], ndots: bool = False) -> dict[str, Any]:
    return {"id": id_, "endpoints": list(endpoints), "servers": None, "forward": True, "ndots": ndots}


def make_zone() -> Zone:
    """Networks `front`, `back` (with IPv6), `shop.default`, and `six`, which has IPv6 only; containers on them."""
    zone = Zone()
    front, back, shop, six = "front", "back", "shop.default", "six"
    for one in (
        view(
            "web",
            endpoint(FRONT, front, "web 0123456789ab webhost", "172.18.0.2", links={"db": "store", "lost": "nobody"}),
            endpoint(BACK, back, "web 0123456789ab webhost www", "172.19.0.2", "fd00::2"),
        ),
        view("one", endpoint(FRONT, front, "One pool 111111111111", "172.18.0.3")),
        view("two", endpoint(FRONT, front, "two pool 222222222222", "172.18.0.4")),
        view("store", endpoint(BACK, back, "store keeper web.front", "172.19.0.5", "fd00::5")),
        view("odd", endpoint(DOTTED, shop, "a.b.c api_v1 x", "172.20.0.2")),
        view("far", endpoint(DOTTED, shop, "far-1 web", "172.20.0.3")),
        view("six", endpoint(LEGACY, six, "six 666666666666", "fd06::2")),
        view("both", endpoint(DOTTED, shop, "both", "172.20.0.9"), endpoint(LEGACY, six, "both", "fd06::9")),
        view("strict", endpoint(FRONT, front, "strict", "172.18.0.8"), ndots=True),
        view("linked", endpoint(BACK, back, "linked", "172.19.0.9", links={"Alias": "store", "store": "web"})),
    ):
        zone.replace(one)
    return zone


FORWARDED, EMPTY = "forwarded", "NOERROR"
# from, name, type, answer: addresses or names, a code without any, or "forwarded".
ROWS = [
    # Names of containers, aliases, short ids, host names.
    ("web", "one", "A", "172.18.0.3"),
    ("web", "two", "A", "172.18.0.4"),
    ("web", "web", "A", "172.18.0.2"),
    ("web", "111111111111", "A", "172.18.0.3"),
    ("web", "webhost", "A", "172.18.0.2"),
    ("one", "webhost", "A", "172.18.0.2"),
    ("one", "0123456789ab", "A", "172.18.0.2"),
    ("one", "0123456789", "A", FORWARDED),
    ("odd", "api_v1", "A", "172.20.0.2"),
    ("odd", "far-1", "A", "172.20.0.3"),
    # Several containers of one alias.
    ("web", "pool", "A", "172.18.0.3 172.18.0.4"),
    ("one", "pool", "A", "172.18.0.3 172.18.0.4"),
    ("one", "pool", "AAAA", EMPTY),
    # Cases, and the dot at the end.
    ("web", "ONE", "A", "172.18.0.3"),
    ("web", "One.", "A", "172.18.0.3"),
    ("web", "one.", "A", "172.18.0.3"),
    ("web", "pOOl", "A", "172.18.0.3 172.18.0.4"),
    ("web", "one.FRONT", "A", "172.18.0.3"),
    # Networks apart.
    ("one", "store", "A", FORWARDED),
    ("store", "one", "A", FORWARDED),
    ("far", "store", "A", FORWARDED),
    ("odd", "web", "A", "172.20.0.3"),
    ("one", "www", "A", FORWARDED),
    ("store", "www", "A", "172.19.0.2"),
    ("store", "web", "A", "172.19.0.2"),
    # Several networks: the first that knows the name, and the one that has the family.
    ("web", "www", "A", "172.19.0.2"),
    ("web", "web", "AAAA", "fd00::2"),
    ("both", "both", "A", "172.20.0.9"),
    ("both", "both", "AAAA", "fd06::9"),
    ("both", "six", "A", EMPTY),
    ("both", "six", "AAAA", "fd06::2"),
    # Families.
    ("web", "one", "AAAA", EMPTY),
    ("store", "web", "AAAA", "fd00::2"),
    ("store", "store", "ANY", "172.19.0.5 fd00::5"),
    ("six", "six", "A", EMPTY),
    # Network-qualified names.
    ("web", "one.front", "A", "172.18.0.3"),
    ("web", "one.front.", "A", "172.18.0.3"),
    ("web", "one.back", "A", FORWARDED),
    ("web", "store.back", "A", "172.19.0.5"),
    ("web", "store.front", "A", FORWARDED),
    ("web", "web.front", "A", "172.19.0.5"),  # a whole name before a qualified one
    ("one", "web.front", "A", "172.18.0.2"),
    ("web", "web.back", "A", "172.19.0.2"),
    ("odd", "far-1.shop.default", "A", "172.20.0.3"),
    ("odd", "far-1.default", "A", FORWARDED),
    ("odd", "a.b.c", "A", "172.20.0.2"),
    ("odd", "a.b.c.shop.default", "A", "172.20.0.2"),
    ("odd", "b.c", "A", FORWARDED),
    ("web", "one.front.example.com", "A", FORWARDED),
    ("web", "front", "A", FORWARDED),
    # Links.
    ("web", "db", "A", FORWARDED),  # its target is not on the network of the link
    ("web", "lost", "A", FORWARDED),
    ("one", "db", "A", FORWARDED),
    ("linked", "alias", "A", "172.19.0.5"),
    ("linked", "ALIAS", "A", "172.19.0.5"),
    ("linked", "alias.back", "A", "172.19.0.5"),
    ("linked", "alias", "AAAA", "fd00::5"),
    ("linked", "store", "A", "172.19.0.2"),  # a link before the container of that name
    ("linked", "keeper", "A", "172.19.0.5"),
    ("store", "alias", "A", FORWARDED),
    # Other types of known names, and of unknown ones.
    ("web", "one", "MX", EMPTY),
    ("web", "one", "TXT", EMPTY),
    ("web", "one", "HTTPS", EMPTY),
    ("web", "one", "SRV", EMPTY),
    ("web", "one", "NS", EMPTY),
    ("web", "nobody", "MX", FORWARDED),
    ("web", "_http._tcp.one", "SRV", FORWARDED),
    ("web", "one", "AXFR", "REFUSED"),
    ("web", "example.com", "IXFR", "REFUSED"),
    # Outside.
    ("web", "example.com", "A", FORWARDED),
    ("web", "nobody", "A", FORWARDED),
    ("web", ".", "NS", FORWARDED),
    ("web", ".", "A", FORWARDED),
    ("web", "a" * 63 + ".example", "A", FORWARDED),
    ("web", ".".join(["abcdefgh"] * 27), "A", FORWARDED),
    # The user has set ndots: names without a dot are completed, not forwarded.
    ("strict", "nobody", "A", EMPTY),
    ("strict", "nobody.", "AAAA", EMPTY),
    ("strict", "nobody", "MX", FORWARDED),
    ("strict", "nobody.example", "A", FORWARDED),
    ("strict", "one", "A", "172.18.0.3"),
    # Reverse.
    ("web", "172.18.0.3", "PTR", "One.front."),
    ("one", "172.18.0.2", "PTR", "web.front."),
    ("web", "172.19.0.5", "PTR", "store.back."),
    ("one", "172.19.0.5", "PTR", FORWARDED),
    ("web", "fd00::5", "PTR", "store.back."),
    ("odd", "172.20.0.2", "PTR", "a.b.c.shop.default."),
    ("web", "172.18.0.99", "PTR", FORWARDED),
    ("web", "1.1.1.1", "PTR", FORWARDED),
    ("web", "one", "PTR", EMPTY),
]


def ask(zone: Zone, origin: str, name: str, type_: str, **options: Any) -> dns.message.Message | None:
    """What the sandbox `origin` gets for a query that dnspython makes."""
    wire = dns.reversename.from_address(name) if type_ == "PTR" and name[0] in "1f" else dns.name.from_text(name)
    packet = dns.message.make_query(wire, type_, **options).to_wire()
    query = message.parse(packet)
    found = answers.decide(zone.sandboxes[origin], query, query.size)
    if found is None:
        return None
    answer = dns.message.from_wire(found)
    assert answer.id == int.from_bytes(packet[:2], "big")
    assert answer.question[0].name == wire
    assert answer.flags & dns.flags.QR
    assert answer.flags & dns.flags.RA
    return answer


@pytest.mark.parametrize(("origin", "name", "type_", "expected"), ROWS, ids=lambda value: str(value)[:40])
def test_answers(origin: str, name: str, type_: str, expected: str) -> None:
    answer = ask(make_zone(), origin, name, type_)
    if answer is None:
        assert expected == FORWARDED
        return
    records = sorted(str(one) for found in answer.answer for one in found)
    assert all(found.ttl <= 5 for found in answer.answer)
    assert (" ".join(records) or dns.rcode.to_text(answer.rcode())).lower() == expected.lower()


def test_the_table_is_long_enough() -> None:
    assert len({row[:3] for row in ROWS}) >= 60


def test_addresses_come_in_any_order() -> None:
    zone = make_zone()
    orders = {
        tuple(str(one) for one in answer.answer[0]) for _ in range(64) if (answer := ask(zone, "web", "pool", "A"))
    }
    assert len(orders) == 2


def test_the_question_is_repeated_as_it_was_asked() -> None:
    packet = dns.message.make_query("OnE.FroNt", "A").to_wire()
    query = message.parse(packet)
    found = answers.decide(make_zone().sandboxes["web"], query, query.size)
    assert found is not None
    assert packet[12:] == found[12 : len(packet)]


def test_many_addresses_are_truncated_to_what_the_client_takes() -> None:
    zone = make_zone()
    for number in range(100):
        zone.replace(view(f"n{number}", endpoint(FRONT, "front", f"n{number} many", f"172.18.1.{number}")))
    plain = ask(zone, "web", "many", "A")
    assert plain is not None
    assert plain.flags & dns.flags.TC
    assert len(plain.to_wire()) <= 512
    assert len(plain.answer[0]) == (512 - 12 - 10) // 16
    larger = ask(zone, "web", "many", "A", use_edns=0, payload=1232)
    assert larger is not None
    assert larger.flags & dns.flags.TC
    assert 1200 < len(larger.to_wire()) <= 1232
    whole = ask(zone, "web", "many", "A", use_edns=0, payload=4096)
    assert whole is not None
    assert (len(whole.answer[0]), whole.flags & dns.flags.TC) == (100, 0)
    assert (whole.edns, whole.payload) == (0, message.OUR_SIZE)


def test_a_client_without_edns_gets_none() -> None:
    plain = ask(make_zone(), "web", "one", "A", use_edns=False)
    assert plain is not None
    assert plain.edns == -1


def test_another_version_of_edns_is_refused() -> None:
    packet = dns.message.make_query("one", "A", use_edns=1).to_wire()
    query = message.parse(packet)
    found = answers.decide(make_zone().sandboxes["web"], query, query.size)
    assert found is not None
    assert dns.message.from_wire(found).rcode() == dns.rcode.BADVERS


def test_a_view_replaces_the_one_before() -> None:
    zone = make_zone()
    zone.replace(view("one", endpoint(FRONT, "front", "uno", "172.18.0.33")))
    assert ask(zone, "web", "one", "A") is None
    pool = ask(zone, "web", "pool", "A")
    assert pool is not None
    assert [str(one) for one in pool.answer[0]] == ["172.18.0.4"]
    assert ask(zone, "web", "172.18.0.3", "PTR") is None
    assert ask(zone, "web", "uno", "A") is not None


def test_an_address_that_another_has_by_now_keeps_its_name() -> None:
    zone = make_zone()
    zone.replace(view("new", endpoint(FRONT, "front", "new", "172.18.0.3")))
    zone.remove("one")
    found = ask(zone, "web", "172.18.0.3", "PTR")
    assert found is not None
    assert str(found.answer[0][0]) == "new.front."


def test_what_is_removed_leaves_nothing() -> None:
    zone = make_zone()
    for id_ in list(zone.sandboxes):
        zone.remove(id_)
    zone.remove("nobody")
    assert (zone.networks, zone.sandboxes) == ({}, {})


def test_a_view_that_cannot_be_read_changes_nothing() -> None:
    zone = make_zone()
    bad = view("one", endpoint(FRONT, "front", "one", "not an address"))
    with pytest.raises(OSError, match="illegal IP address"):
        zone.replace(bad)
    assert ask(zone, "web", "one", "A") is not None
