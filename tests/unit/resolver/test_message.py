"""DNS messages: what is parsed, and that nothing malformed does harm."""

from __future__ import annotations

import random
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.resolver import message
from darse.resolver.message import Malformed
from tests.support.dnspython import dns


def query(name: str = "web.front", type_: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, type_, **options).to_wire()  # type: ignore[arg-type]


def test_a_query() -> None:
    parsed = message.parse(query("Web.FRONT", "AAAA", use_edns=0, payload=1400, id=77))
    assert (parsed.name, parsed.type, parsed.class_, parsed.id) == (b"web.front", message.TYPE_AAAA, 1, 77)
    assert (parsed.edns, parsed.version, parsed.size) == (True, 0, 1400)


@pytest.mark.parametrize(("payload", "size"), [(0, 512), (100, 512), (512, 512), (1232, 1232), (65535, 65535)])
def test_a_client_takes_512_bytes_at_least(payload: int, size: int) -> None:
    assert message.parse(query(use_edns=0, payload=payload)).size == size


def test_records_before_the_opt_record_are_skipped_with_their_compressed_names() -> None:
    made = dns.message.make_query("web", "A", use_edns=0, payload=2000)
    made.answer.append(dns.rrset.from_text("web.", 1, "IN", "A", "1.2.3.4"))
    made.authority.append(dns.rrset.from_text("web.", 1, "IN", "NS", "ns.web."))
    assert message.parse(made.to_wire()).size == 2000


def test_a_dot_within_a_label_is_not_one_between_labels() -> None:
    packet = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + b"\7web.box\0" + struct.pack("!2H", 1, 1)
    assert message.parse(packet).name == b"web\\.box"


HEADER = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0)
TAIL = struct.pack("!2H", 1, 1)


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (struct.pack("!6H", 1, 0x8100, 1, 0, 0, 0) + b"\3web\0" + TAIL, None),
        (struct.pack("!6H", 1, 0x100, 0, 0, 0, 0), "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 2, 0, 0, 0) + b"\3web\0" + TAIL, "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 65535, 65535, 65535, 65535), "FORMERR"),
        (HEADER, "FORMERR"),
        (HEADER + b"\3web", "FORMERR"),
        (HEADER + b"\3web\0", "FORMERR"),
        (HEADER + b"\3web\0\0\1\0", "FORMERR"),
        (HEADER + b"\xc0\x0c" + TAIL, "FORMERR"),
        (HEADER + b"\3web\xc0\x0c" + TAIL, "FORMERR"),
        (HEADER + b"\x40web\0" + TAIL, "FORMERR"),
        (HEADER + b"\x3f" + b"a" * 10, "FORMERR"),
        (HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0" + TAIL, "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 1, 0, 0, 65535) + b"\3web\0" + TAIL, "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 1, 0, 0, 1) + b"\3web\0" + TAIL + b"\0\0\x29\xff", "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 1, 0, 0, 1) + b"\3web\0" + TAIL + b"\0\0\x29\x10\0\0\0\0\0\xff\xff", "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 1, 0, 0, 2) + b"\3web\0" + TAIL + b"\0\0\x29\x10\0\0\0\0\0\0\0" * 2, "FORMERR"),
        (struct.pack("!6H", 1, 0x100, 1, 0, 0, 1) + b"\3web\0" + TAIL + b"\1a\0\0\x29\x10\0\0\0\0\0\0\0", "FORMERR"),
        (struct.pack("!6H", 1, 0x2000, 1, 0, 0, 0) + b"\3web\0" + TAIL, "NOTIMP"),
    ],
)
def test_malformed(packet: bytes, code: str | None) -> None:
    with pytest.raises(Malformed) as caught:
        message.parse(packet)
    answer = caught.value.answer
    if code is None:
        assert answer == b""
    else:
        assert len(answer) == 12
        assert answer[:2] == packet[:2]
        assert answer[2] & 0x80
        assert dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 0xF)) == code


def answer_of(data: bytes) -> bytes:
    """What the sender of `data` gets when nothing is known."""
    try:
        parsed = message.parse(data)
    except Malformed as error:
        return error.answer
    return message.answer(parsed, [], limit=parsed.size)


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    assert len(answer_of(data)) <= 512


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_header(data: bytes) -> None:
    assert len(answer_of(HEADER[:8] + b"\0\3\0\3" + data)) <= 512


def test_changed_bytes_of_a_query() -> None:
    generator = random.Random(11)
    whole = query("one.two.three", "A", use_edns=0, payload=1232)
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            parsed = message.parse(bytes(data[: generator.randint(0, len(data))]))
        except Malformed:
            continue
        assert len(message.answer(parsed, [b"x" * 16] * 50, limit=parsed.size)) <= parsed.size


def test_an_answer_over_its_limit_is_cut() -> None:
    parsed = message.parse(query(use_edns=0, payload=600))
    data = message.answer(parsed, [message.address_record(b"\1\2\3\4")] * 100)
    cut = message.cut(data, parsed, 600)
    assert len(cut) < 600
    read = dns.message.from_wire(cut)
    assert read.flags & 0x0200
    assert (len(read.question), len(read.answer), read.edns) == (1, 0, 0)
    assert message.cut(data, parsed, 65535) == data


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data, 0),
        (lambda data: b"\xff\xff" + data[2:], -1),
        (lambda data: data[:2] + b"\1" + data[3:], -1),
        (lambda data: data[:12] + b"\4" + data[13:], -1),
        (lambda data: data[:11], -1),
        (lambda data: data[:3] + b"\x82" + data[4:], 2),
        (lambda data: data[:3] + b"\x85\0\0\0\0\0\0\0\0", 5),
        (lambda data: data[:3] + b"\x80\0\0\0\0\0\0\0\0", -1),
        (lambda data: data.replace(b"\3web", b"\3WeB"), 0),
    ],
)
def test_answers_of_upstream_servers_belong_to_their_questions(change: object, code: int) -> None:
    parsed = message.parse(query("web", id=0x1234))
    data = message.answer(parsed, [])
    assert message.answers_to(change(data), 0x1234, parsed.question) == code  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (b"2.0.18.172.in-addr.arpa", bytes((172, 18, 0, 2))),
        (b"256.0.18.172.in-addr.arpa", None),
        (b"0.18.172.in-addr.arpa", None),
        (b"a.0.18.172.in-addr.arpa", None),
        (b"+2.0.18.172.in-addr.arpa", None),
        (b".".join([b"0"] * 31 + [b"f"]) + b".ip6.arpa", b"\xf0" + b"\0" * 15),
        (b".".join([b"0"] * 31) + b".ip6.arpa", None),
        (b".".join([b"g"] * 32) + b".ip6.arpa", None),
        (b"example.com", None),
    ],
)
def test_reversed_addresses(name: bytes, address: bytes | None) -> None:
    assert message.reversed_address(name) == address


def test_a_query_of_our_own() -> None:
    packet = message.question("Web.front.", message.TYPE_A)
    assert message.parse(packet).name == b"web.front"
    assert message.parse(message.question(".", 2)).name == b""
    for name in ("a..b", "a" * 64, ".".join(["abcdefgh"] * 30)):
        with pytest.raises(ValueError, match="not a name"):
            message.question(name, 1)


def test_a_summary_for_people() -> None:
    parsed = message.parse(query())
    data = message.answer(parsed, [message.address_record(b"\1\2\3\4"), message.pointer_record(b"a.b")])
    assert message.summary(data) == {"code": 0, "answers": ["1.2.3.4", "a.b"]}
    assert message.summary(data[:-3])["answers"] == ["1.2.3.4", "(the rest cannot be read)"]


def test_a_query_takes_microseconds() -> None:
    packet = query("web.front", use_edns=0)
    start = time.process_time()
    for _ in range(2000):
        parsed = message.parse(packet)
        message.answer(parsed, [message.address_record(b"\1\2\3\4")])
    assert (time.process_time() - start) / 2000 < 100e-6
