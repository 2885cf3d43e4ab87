"""DNS messages, as far as a name server of container names needs them: RFC 1035, RFC 6891 (EDNS).

A query is parsed in two microseconds: its question, and whether there is an OPT record. Everything else in it is
skipped, with bounds: each record takes eleven bytes at least and a compressed name ends at its first pointer, so no
message makes this loop longer than it is. What is not a query that can be answered raises `Malformed`.
"""

from __future__ import annotations

import socket
import struct

TYPE_A, TYPE_SOA, TYPE_PTR, TYPE_MX, TYPE_AAAA, TYPE_OPT = 1, 6, 12, 15, 28, 41
TYPE_IXFR, TYPE_AXFR, TYPE_ANY = 251, 252, 255
CLASS_IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
BADVERS = 16
QR, TC, RD, RA, CD = 0x8000, 0x0200, 0x0100, 0x0080, 0x0010
OPCODE = 0x7800
#: Bytes of an answer that every client takes, and the most that a message over TCP has.
MIN_SIZE, MAX_SIZE = 512, 65535
#: What we say that we take over UDP.
OUR_SIZE = 4096
#: Seconds for which a name of ours may be kept: containers come and go.
TTL = 5

_HEADER = struct.Struct("!6H")
_TYPE_CLASS = struct.Struct("!HH")
# After the owner's name: type, class, TTL, length of the data.
_RECORD = struct.Struct("!HHIH")
# A record whose owner is the name of the question, by a pointer to it.
_ANSWER = struct.Struct("!HHHIH")
_TO_QUESTION = 0xC00C
_LONGEST_NAME = 255
_LONGEST_LABEL = 63


class Malformed(Exception):
    """The message cannot be answered as a query. `answer` is what says so; empty: nothing may be said."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__("malformed message")
        self.answer = answer


class Query:
    """A query with one question.

    `name` is lower-case, its labels joined by dots, without one at the end; a dot or backslash within a label is
    escaped, so that no two names become one. `question` is the question as it was asked. `size` is how large an answer
    may be over UDP.
    """

    __slots__ = ("class_", "edns", "flags", "id", "name", "question", "size", "type", "version")

    def __init__(self, id_: int, flags: int, name: bytes, type_: int, class_: int, question: bytes) -> None:
        self.id = id_
        self.flags = flags
        self.name = name
        self.type = type_
        self.class_ = class_
        self.question = question
        self.edns = False
        self.version = 0
        self.size = MIN_SIZE


def parse(data: bytes) -> Query:
    """Parse a query. Raises Malformed."""
    if len(data) < 12:
        raise Malformed
    id_, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & QR:
        raise Malformed  # An answer to an answer may go round for ever.
    if flags & OPCODE:
        raise Malformed(_HEADER.pack(id_, QR | flags & (OPCODE | RD) | NOTIMP, 0, 0, 0, 0))
    # Bytes, not the exception: one that its own frame refers to would stay until the garbage collector comes.
    format_error = _HEADER.pack(id_, QR | RA | flags & RD | FORMERR, 0, 0, 0, 0)
    if questions != 1:
        raise Malformed(format_error)
    try:
        name, end = _name(data, 12)
        type_, class_ = _TYPE_CLASS.unpack_from(data, end)
        end += 4
        query = Query(id_, flags, name, type_, class_, data[12:end])
        if answers or authorities or additional:
            _find_edns(query, data, end, answers + authorities, additional)
    except (ValueError, IndexError, struct.error) as error:
        raise Malformed(format_error) from error
    return query


def _name(data: bytes, position: int) -> tuple[bytes, int]:
    """The name at a position, and where it ends. No pointers: in a question there is nothing to point to."""
    start = position
    labels = []
    while length := data[position]:
        if length > _LONGEST_LABEL:
            raise ValueError("a pointer, or a type of label that nobody has")
        position += 1
        label = data[position : position + length]
        if b"." in label or b"\\" in label:
            label = label.replace(b"\\", b"\\\\").replace(b".", b"\\.")
        labels.append(label)
        position += length
    if position - start >= _LONGEST_NAME or position >= len(data):
        raise ValueError("the name is too long")
    return b".".join(labels).lower(), position + 1


def skip_name(data: bytes, position: int) -> int:
    """Where the name at a position ends, which may be compressed. Raises ValueError and IndexError."""
    start = position
    while length := data[position]:
        if length >= 0xC0:
            return position + 2
        if length > _LONGEST_LABEL or position - start > _LONGEST_NAME:
            raise ValueError("not a name")
        position += 1 + length
    return position + 1


def _find_edns(query: Query, data: bytes, position: int, skipped: int, additional: int) -> None:
    """Take the size and version of the OPT record among the additional ones. Raises ValueError, struct.error."""
    for number in range(skipped + additional):
        root = data[position] == 0
        position = skip_name(data, position)
        type_, class_, ttl, length = _RECORD.unpack_from(data, position)
        position += _RECORD.size + length
        if position > len(data):
            raise ValueError("a record leads beyond the message")
        if type_ == TYPE_OPT and number >= skipped:
            if query.edns or not root:
                raise ValueError("two OPT records, or one with a name")
            query.edns = True
            query.size = max(MIN_SIZE, class_)
            query.version = ttl >> 16 & 0xFF


def answer(query: Query, records: list[bytes], *, code: int = NOERROR, limit: int = MAX_SIZE) -> bytes:
    """Pack an answer of at most `limit` bytes; records that do not fit are left out, and it says so (TC)."""
    flags = QR | RA | query.flags & (RD | CD) | code & 0xF
    opt = b""
    if query.edns:
        opt = b"\0" + _RECORD.pack(TYPE_OPT, OUR_SIZE, code >> 4 << 24, 0)
    room = limit - 12 - len(query.question) - len(opt)
    taken = len(records)
    if sum(map(len, records)) > room:
        taken = 0
        for record in records:
            room -= len(record)
            if room < 0:
                break
            taken += 1
        flags |= TC
    header = _HEADER.pack(query.id, flags, 1, taken, 0, 1 if opt else 0)
    return b"".join((header, query.question, *records[:taken], opt))


def address_record(packed: bytes) -> bytes:
    """An A or AAAA record of the question's name."""
    type_ = TYPE_A if len(packed) == 4 else TYPE_AAAA
    return _ANSWER.pack(_TO_QUESTION, type_, CLASS_IN, TTL, len(packed)) + packed


def pointer_record(name: bytes) -> bytes:
    """A PTR record of the question's name; `name` has dots, and labels that fit."""
    packed = b"".join(bytes((len(label),)) + label for label in name.split(b".")) + b"\0"
    return _ANSWER.pack(_TO_QUESTION, TYPE_PTR, CLASS_IN, TTL, len(packed)) + packed


def cut(data: bytes, query: Query, limit: int) -> bytes:
    """An upstream's answer, of at most `limit` bytes: header and question only when it is longer, and it says so."""
    if len(data) <= limit:
        return data
    _, flags, *_ = _HEADER.unpack_from(data)
    opt = b"\0" + _RECORD.pack(TYPE_OPT, OUR_SIZE, 0, 0) if query.edns else b""
    return _HEADER.pack(query.id, flags | TC, 1, 0, 0, 1 if opt else 0) + query.question + opt


def answers_to(data: bytes, id_: int, question: bytes) -> int:
    """The code (0 to 15) of an upstream's answer to a question that was sent with this id; -1 when it is none."""
    if len(data) < 12 or data[0] << 8 | data[1] != id_ or not data[2] & 0x80:
        return -1
    if data[4:6] == b"\0\0" and data[3] & 0xF:
        return data[3] & 0xF  # Some servers leave out the question when they refuse.
    if data[4:6] != b"\0\1" or data[12 : 12 + len(question)].lower() != question.lower():
        return -1
    return data[3] & 0xF


_V4_SUFFIX, _V6_SUFFIX = b".in-addr.arpa", b".ip6.arpa"


def reversed_address(name: bytes) -> bytes | None:
    """The packed address that a PTR query's name stands for; None when it is none."""
    if name.endswith(_V4_SUFFIX):
        parts = name[: -len(_V4_SUFFIX)].split(b".")
        if len(parts) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts):
            return bytes(int(part) for part in reversed(parts))
    elif name.endswith(_V6_SUFFIX):
        nibbles = name[: -len(_V6_SUFFIX)].split(b".")
        if len(nibbles) == 32 and all(len(one) == 1 and one in b"0123456789abcdef" for one in nibbles):
            return bytes.fromhex(b"".join(reversed(nibbles)).decode())
    return None


def question(name: str, type_: int) -> bytes:
    """A query of our own. Raises ValueError for what is no name."""
    labels = [label.encode() for label in name.rstrip(".").split(".")] if name.rstrip(".") else []
    if any(not 0 < len(label) <= _LONGEST_LABEL for label in labels) or len(name) > _LONGEST_NAME - 2:
        raise ValueError(f"{name!r} is not a name in DNS")
    packed = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return _HEADER.pack(0, RD, 1, 0, 0, 0) + packed + _TYPE_CLASS.pack(type_, CLASS_IN)


def summary(data: bytes) -> dict[str, object]:
    """Code, and addresses and names of an answer, for people to read; what cannot be read of it is left out."""
    addresses: list[str] = []
    _, flags, _, answers, _, _ = _HEADER.unpack_from(data)
    try:
        position = skip_name(data, 12) + 4
        for _ in range(answers):
            position = skip_name(data, position)
            type_, _, _, length = _RECORD.unpack_from(data, position)
            position += _RECORD.size
            record = data[position : position + length]
            if type_ in (TYPE_A, TYPE_AAAA):
                addresses.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, record))
            elif type_ == TYPE_PTR:
                addresses.append(_name(data, position)[0].decode(errors="replace"))
            position += length
    except (ValueError, IndexError, struct.error):
        addresses.append("(the rest cannot be read)")
    return {"code": flags & 0xF, "answers": addresses}
