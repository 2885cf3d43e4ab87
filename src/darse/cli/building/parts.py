"""A build's contexts and secrets as one body; see `darse.api.builds.parts` for the form."""

from __future__ import annotations

import base64
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MEDIA_TYPE = "application/vnd.darse.build.parts.v1"


def encode(
    contexts: Mapping[str, Iterator[bytes]],
    secrets: Mapping[str, bytes],
    agents: Sequence[str] = (),
    trees: Mapping[str, Mapping[str, str]] | None = None,
    dockerfile: bytes | None = None,
) -> Iterator[bytes]:
    """Yield the body: `contexts` are archives by name, `agents` the ids of those that are forwarded.

    trees: key and digest of contexts that are sent in part, by name. dockerfile: its content, where no archive has it.
    """
    head = {
        "trees": trees or {},
        "dockerfile": base64.b64encode(dockerfile).decode() if dockerfile is not None else None,
        "secrets": {name: base64.b64encode(value).decode() for name, value in secrets.items()},
        "contexts": list(contexts),
        "agents": list(agents),
    }
    yield _frame(0, json.dumps(head).encode())
    for number, archive in enumerate(contexts.values(), 1):
        for piece in archive:
            if piece:
                yield _frame(number, piece)
        yield _frame(number, b"")


def _frame(part: int, data: bytes) -> bytes:
    return bytes((part, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
