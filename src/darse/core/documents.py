"""The documents in which records are stored: JSON objects with the version of their form.

A *document version* counts the forms that a kind of record has had; documents without one are of version 1. A reader
knows its own version and all before it. What a newer engine has written, this one neither reads nor writes over: the
record is kept as it is, and only the object that it describes is not available (see `State.decoded`).

When a record's form changes so that an older engine would misread it, its codec counts one up, and `upgrade` turns the
older document into the newer one. A member that is added with a default needs neither.

Records that are plain lists have no member for a version: a list is of version 1, and whatever replaces it one day is
an object with its version, which the `ListCodec` of today recognizes as newer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class NewerDocument(ValueError):
    """The document is in a form that only a newer engine reads."""


class _Version(msgspec.Struct):
    document_version: int = 1


_read_version = msgspec.json.Decoder(_Version)
_read_packed_version = msgspec.msgpack.Decoder(_Version)


class DocumentCodec(Generic[T]):
    """Writes and reads the documents of one kind of record."""

    def __init__(
        self, type_: type[T], *, version: int = 1, upgrade: Callable[[int, dict[str, Any]], None] | None = None
    ) -> None:
        """`upgrade(version, document)` brings a document of an older version to this one, in place."""
        self._type = type_
        self._version = version
        self._upgrade = upgrade
        self._prefix = b'{"document_version":%d' % version

    @functools.cached_property
    def _decoder(self) -> msgspec.json.Decoder[T]:
        """Made when it is first needed: that of a container takes a millisecond, and modules make theirs on import."""
        return msgspec.json.Decoder(self._type)

    def encode(self, record: T) -> bytes:
        """The document of a record."""
        members = msgspec.json.encode(record)[1:]
        return self._prefix + (members if members == b"}" else b"," + members)

    def decode(self, document: bytes | str | msgspec.Raw) -> T:
        """The record of a document. Raises NewerDocument, and what msgspec raises for a damaged one."""
        version = _read_version.decode(document).document_version
        if version > self._version:
            raise _newer(version, self._version)
        if version == self._version or self._upgrade is None:
            return self._decoder.decode(document)
        members = msgspec.json.decode(document)
        self._upgrade(version, members)
        return msgspec.convert(members, self._type)


class ListCodec(Generic[T]):
    """Writes and reads records that are lists, in JSON or in MessagePack."""

    def __init__(self, type_: type[T], *, packed: bool = False) -> None:
        """`packed` stands for MessagePack, which has bytes."""
        self._type = type_
        self._packed = packed
        self._encode = msgspec.msgpack.encode if packed else msgspec.json.encode
        self._read_version = _read_packed_version.decode if packed else _read_version.decode

    @functools.cached_property
    def _decode(self) -> Callable[[bytes], T]:
        decoder = msgspec.msgpack.Decoder(self._type) if self._packed else msgspec.json.Decoder(self._type)
        return decoder.decode

    def encode(self, record: T) -> bytes:
        """The list of a record."""
        return self._encode(record)

    def decode(self, document: bytes) -> T:
        """The record of a list. Raises NewerDocument, and what msgspec raises for a damaged one."""
        try:
            return self._decode(document)
        except msgspec.ValidationError:
            version = self._read_version(document).document_version
            if version > 1:
                raise _newer(version, 1) from None
            raise


def _newer(version: int, known: int) -> NewerDocument:
    return NewerDocument(
        f"was written by a newer darse: its document version is {version}, and this darse reads {known} at most"
    )
