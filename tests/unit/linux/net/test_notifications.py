"""Notices of nftables and of links, as the kernel packs them."""

from __future__ import annotations

import socket
import struct

from darse.linux.net.notifications import FLOWTABLE, FORWARDING, LINK, TABLE, Notice, TableNotices, decode_rtnetlink
from darse.linux.net.rtnetlink import attribute

OWN, OTHER = 111, 222
NEWRULE, NEWFLOWTABLE, NEWGEN = 6, 22, 15


def message(type_: int, body: bytes, port: int = 0) -> bytes:
    """One netlink message."""
    return struct.pack("=IHHII", 16 + len(body), type_, 0, 0, port) + body + b"\0" * (-len(body) % 4)


def nft(type_: int, port: int, *attributes: bytes, family: int = socket.AF_INET) -> bytes:
    """One notice of nftables."""
    return message(10 << 8 | type_, struct.pack("=BBH", family, 0, 0) + b"".join(attributes), port)


def rule(table: bytes, port: int = OTHER, family: int = socket.AF_INET) -> bytes:
    """A rule was made in a table."""
    return nft(NEWRULE, port, attribute(1, table + b"\0"), family=family)


def generation(port: int = OTHER) -> bytes:
    """The end of a transaction."""
    return nft(NEWGEN, port, attribute(1, b"\0\0\0\1"), attribute(2, b"\0\0\1\0"), attribute(3, b"ufw\0"))


def watch() -> TableNotices:
    return TableNotices("darse", OWN)


def test_a_change_of_the_table_is_told_once_with_who_made_it() -> None:
    notices = watch()
    assert notices.decode(rule(b"darse") + rule(b"darse")) == []
    assert notices.decode(rule(b"darse") + generation()) == [Notice(TABLE, "ufw", 256)]
    assert notices.decode(generation()) == []
    notices.close()


def test_own_changes_and_those_of_other_tables_are_none() -> None:
    notices = watch()
    for port, table, family in (
        (OWN, b"darse", socket.AF_INET),
        (OTHER, b"darse_2", socket.AF_INET),
        (OTHER, b"xdarse", socket.AF_INET),
        (OTHER, b"darse", 1),  # NFPROTO_INET
    ):
        assert notices.decode(rule(table, port, family) + generation(port)) == []
    notices.close()


def test_flow_tables_are_told() -> None:
    notices = watch()
    assert notices.decode(nft(NEWFLOWTABLE, OTHER, attribute(1, b"any\0"))) == [Notice(FLOWTABLE)]
    notices.close()


def test_truncated_notices_are_passed_over() -> None:
    notices = watch()
    whole = rule(b"darse") + generation()
    for length in range(len(whole)):
        assert len(notices.decode(whole[:length])) <= 1
    notices.close()


def test_links_and_addresses_are_told_by_the_links_name() -> None:
    link = message(17, struct.pack("=BxHiII", 0, 0, 7, 0, 0) + attribute(3, b"br0\0"))
    address = message(21, struct.pack("=BBBBI", 2, 24, 0, 0, 7) + attribute(3, b"br0:1\0"))
    forwarding = message(80, struct.pack("=Bxxx", 2) + attribute(1, b"\xff\xff\xff\xff"))
    assert decode_rtnetlink(link + address) == [Notice(LINK, "br0", gone=True), Notice(LINK, "br0")]
    no_port_any_more = message(17, struct.pack("=BxHiII", 7, 0, 7, 0, 0) + attribute(3, b"br0\0"))
    down = message(16, struct.pack("=BxHiII", 0, 0, 7, 0, 0) + attribute(3, b"br0\0"))
    assert decode_rtnetlink(no_port_any_more + down) == [Notice(LINK, "br0"), Notice(LINK, "br0")]
    assert decode_rtnetlink(forwarding) == [Notice(FORWARDING)]
