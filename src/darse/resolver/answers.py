"""The decision about a query: answered from what is registered, refused, or to be asked of an upstream server.

As libnetwork decides, but for three things. A name of ours has every type of record, most of them without any: a client
that asks for HTTPS or TXT must not hear from outside that the name does not exist. The time to live is five seconds.
And zone transfers are refused.
"""

from __future__ import annotations

from _random import Random  # `random` is a megabyte

from darse.resolver import message, zone
from darse.resolver.message import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.resolver.zone import SandboxView

_LENGTHS = {message.TYPE_A: (4,), message.TYPE_AAAA: (16,), message.TYPE_ANY: (4, 16)}
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_random = Random().random


def decide(sandbox: SandboxView, query: Query, limit: int) -> bytes | None:
    """The answer, of at most `limit` bytes; None: ask an upstream server."""
    if query.version:
        return message.answer(query, [], code=message.BADVERS)
    if query.class_ != message.CLASS_IN:
        return None
    type_ = query.type
    if type_ in (message.TYPE_AXFR, message.TYPE_IXFR):
        return message.answer(query, [], code=message.REFUSED)
    if type_ == message.TYPE_PTR:
        pointer = _pointer(sandbox, query, limit)
        if pointer is not None:
            return pointer
    known = False
    records = []
    for length in _LENGTHS.get(type_, (0,)):
        found = zone.find(sandbox, query.name, length)
        if found is not None:
            known = True
            records += [message.address_record(address) for address in found.addresses]
    if known:
        if len(records) > 1:
            _shuffle(records)
        return message.answer(query, records, limit=limit)
    if sandbox.ndots and type_ in (message.TYPE_A, message.TYPE_AAAA) and b"." not in query.name:
        # The user wants names without a dot to be completed by the search domains.
        return message.answer(query, [], limit=limit)
    return None


def _shuffle(records: list[bytes]) -> None:
    for last in range(len(records) - 1, 0, -1):
        other = int(_random() * (last + 1))
        records[last], records[other] = records[other], records[last]


def _pointer(sandbox: SandboxView, query: Query, limit: int) -> bytes | None:
    address = message.reversed_address(query.name)
    found = zone.find_pointer(sandbox, address) if address is not None else None
    if found is None:
        return None
    name, network = found
    whole = name + b"." + network.name
    # Containers and networks may have names that are none in DNS.
    fits = len(whole) <= _LONGEST_NAME and all(0 < len(label) <= _LONGEST_LABEL for label in whole.split(b"."))
    return message.answer(query, [message.pointer_record(whole)] if fits else [], limit=limit)
