"""What objects of the API have in common."""

from __future__ import annotations

import msgspec

NullableStrings = list[str] | None


class Wire(msgspec.Struct):
    """Base of the API's objects."""
