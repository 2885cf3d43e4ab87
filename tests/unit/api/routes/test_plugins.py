"""Bodies of the routes of plugins."""

from __future__ import annotations

from typing import Any

import pytest

from darse.api.routes import plugins
from darse.core.errors import InvalidParameter
from darse.wire.plugins import PluginPrivilege


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the next request has, in pieces."""
    pieces: list[bytes] = []

    async def read(_: object) -> bytes:
        return b"".join(pieces)

    monkeypatch.setattr(plugins, "read_body", read)
    return pieces


@pytest.mark.parametrize("kind", [str, PluginPrivilege])
@pytest.mark.parametrize("text", [b"[" * 100_000, b"{}", b"nonsense", b"[[]]"])
async def test_a_body_that_is_no_list_is_refused(body: list[bytes], kind: type, text: bytes) -> None:
    body.append(text)
    request: Any = None
    with pytest.raises(InvalidParameter, match="invalid JSON: "):
        await plugins._list(request, kind)
