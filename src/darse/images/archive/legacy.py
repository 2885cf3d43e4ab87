"""Images as docker had them before 1.10: a chain of layers, each with a JSON document of its own and an id by chance.

The config that they have today is put together from the documents, as docker 1.10 and later did when they met one:
the top one's settings, and a step of history for each layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from darse.core.errors import InvalidParameter
from darse.images.content.manifests import decode

_LAYERS = 1024
# What only the old form has, or the new one has elsewhere.
_DROPPED = ("id", "parent", "layer_id", "throwaway", "Size", "checksum", "parent_id", "history", "rootfs")
Step = dict[str, Any]


def chain(top: str, document: Callable[[str], bytes]) -> list[tuple[str, Step]]:
    """Follow the parents of layer `top` and return (id, document) of each, lowest first. Raises InvalidParameter."""
    found: list[tuple[str, Step]] = []
    seen: set[str] = set()
    one = top
    while one:
        if one in seen or len(seen) >= _LAYERS or "/" in one:
            raise InvalidParameter(f"invalid archive: the parents of layer {top} have no end")
        seen.add(one)
        step = decode(document(one), dict[str, Any], "archive")
        found.append((one, step))
        one = _text(step, "parent")
    return found[::-1]


def config(steps: list[Step]) -> bytes:
    """Return the config of the image whose layers' documents are `steps`, lowest first; without its diff IDs."""
    top = {key: value for key, value in steps[-1].items() if key not in _DROPPED}
    return msgspec.json.encode({**top, "history": [_history(step) for step in steps]}, order="deterministic")


def with_diff_ids(document: bytes, diff_ids: list[str]) -> bytes:
    """Complete a config from `config`, once its layers are known."""
    read = decode(document, dict[str, Any], "archive")
    return msgspec.json.encode({**read, "rootfs": {"type": "layers", "diff_ids": diff_ids}}, order="deterministic")


def _history(step: Step) -> Step:
    container = step.get("container_config")
    command = container.get("Cmd") if isinstance(container, dict) else None
    words = [word for word in command or [] if isinstance(word, str)]
    fields = {
        "created": _text(step, "created"),
        "created_by": " ".join(words),
        "author": _text(step, "author"),
        "comment": _text(step, "comment"),
    }
    return {key: value for key, value in fields.items() if value}


def _text(step: Step, key: str) -> str:
    value = step.get(key)
    return value if isinstance(value, str) else ""
