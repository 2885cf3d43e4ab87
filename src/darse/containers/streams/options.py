"""Options of container operations that do not come as one of the API's own structs."""

from __future__ import annotations

import msgspec

from darse.core.errors import InvalidParameter
from darse.detach_keys import DEFAULT, DetachKeys, InvalidKeys, parse


class AttachOptions(msgspec.Struct, frozen=True):
    """Query of an attach: which streams, past log first, and the detach keys ("" for the default)."""

    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    detach_keys: str = ""


def detach_keys(text: str) -> DetachKeys:
    """The keys of a request; docker's own when it names none. Raises InvalidParameter."""
    try:
        return DetachKeys(parse(text or DEFAULT))
    except InvalidKeys as error:
        raise InvalidParameter(str(error)) from None
