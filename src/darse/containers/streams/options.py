"""Options of container operations that do not come as one of the API's own structs."""

from __future__ import annotations

import msgspec


class AttachOptions(msgspec.Struct, frozen=True):
    """Query of an attach: which streams, past log first, and the detach keys ("" for the default)."""

    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    detach_keys: str = ""
