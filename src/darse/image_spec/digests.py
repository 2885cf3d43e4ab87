"""Digests (image-spec, descriptor.md) and chain IDs (config.md). SHA-256 is the only algorithm in use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def digest_of(content: bytes) -> str:
    """The sha256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether `text` is a sha256 digest."""
    return _DIGEST.match(text) is not None


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Return the chain ID of each layer, given the diff IDs, lowest first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(chain_above(chain[-1] if chain else None, diff_id))
    return chain


def chain_above(parent: str | None, diff_id: str) -> str:
    """The chain ID of layer `diff_id` on the layer whose chain ID is `parent`; None is no layer."""
    return diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())
