"""What every part of the model has."""

from __future__ import annotations

from typing import Any

import msgspec


class ModelPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A mapping of the model. Attributes are in the order in which docker compose writes them: hashes depend on it.

    An attribute that may be None is shown whenever it is set; any other is left out while it is empty, zero or false.
    """

    extensions: dict[str, Any] = {}
