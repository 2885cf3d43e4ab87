"""Versions of stored records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from darse.core.documents import DocumentCodec, ListCodec, NewerDocument


class Thing(msgspec.Struct, frozen=True):
    name: str
    size: int = 0


class Nothing(msgspec.Struct):
    pass


@pytest.mark.parametrize("record", [Thing("a"), Thing("b", 3), Nothing()])
def test_what_is_written_is_read(record: Any) -> None:
    codec = DocumentCodec(type(record))
    document = codec.encode(record)
    assert msgspec.json.decode(document) == {"document_version": 1, **msgspec.to_builtins(record)}
    assert codec.decode(document) == record


def test_a_document_without_a_version_is_of_the_first() -> None:
    assert DocumentCodec(Thing).decode(b'{"name": "a"}') == Thing("a")


@pytest.mark.parametrize("document", [b'{"document_version": 2, "name": "a"}', b'{"names": [], "document_version": 2}'])
def test_a_newer_document_is_not_read(document: bytes) -> None:
    with pytest.raises(NewerDocument, match=r"written by a newer darse: its document version is 2.* reads 1 at most"):
        DocumentCodec(Thing).decode(document)


@pytest.mark.parametrize("document", [b"", b"{", b"\xff{}", b"[]", b'{"document_version": "x", "name": "a"}', b"{}"])
def test_a_damaged_document_is_no_newer_one(document: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        DocumentCodec(Thing).decode(document)


def test_an_older_document_is_brought_to_the_current_form() -> None:
    def upgrade(version: int, document: dict[str, Any]) -> None:
        if version < 2:
            document["name"] = document.pop("title")
        if version < 3:
            document["size"] *= 512

    codec = DocumentCodec(Thing, version=3, upgrade=upgrade)
    assert codec.decode(b'{"title": "a", "size": 2}') == Thing("a", 1024)
    assert codec.decode(b'{"document_version": 2, "name": "a", "size": 2}') == Thing("a", 1024)
    assert codec.decode(codec.encode(Thing("a", 2))) == Thing("a", 2)


_LISTS = [
    (ListCodec(tuple[Thing, ...]), msgspec.json.encode, (Thing("a"), Thing("b", 3))),
    (ListCodec(tuple[bytes, ...], packed=True), msgspec.msgpack.encode, (b"a\xff", b"")),
]


@pytest.mark.parametrize(("codec", "encode", "record"), _LISTS, ids=["json", "packed"])
def test_a_list_is_of_the_first_version(codec: ListCodec[Any], encode: Any, record: Any) -> None:
    assert codec.encode(record) == encode(record)
    assert codec.decode(encode(record)) == record
    with pytest.raises(NewerDocument, match="its document version is 2, and this darse reads 1 at most"):
        codec.decode(encode({"document_version": 2, "items": []}))
    for damaged in (encode({"items": []}), encode([1]), encode({"document_version": 1}), b"", b"{"):
        with pytest.raises(msgspec.MsgspecError):
            codec.decode(damaged)
