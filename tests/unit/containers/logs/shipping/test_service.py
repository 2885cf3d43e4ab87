"""Logs that an engine before this one has left to send."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from darse.containers.logs.shipping.origin import ORIGIN_DOCUMENTS, origin_of
from darse.testing.room import container_room
from darse.wire.host_config import HostConfig, LogConfig


@pytest.mark.parametrize("kept", [b'{"document_version": 2}', b"no JSON"])
async def test_a_log_whose_marker_cannot_be_read_is_kept_and_keeps_nothing_else_down(
    tmp_path: Path, kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with container_room(tmp_path) as room:
        marker = room.dependencies.files.of(room.add().id).data / "shipping.json"
        marker.write_bytes(kept)
        await room.recover()
        assert marker.read_bytes() == kept
        assert [record.getMessage() for record in caplog.records if "is kept, and not sent" in record.getMessage()]


async def test_a_marker_has_a_version_and_one_without_is_read(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        origin = origin_of(room.add(host=HostConfig(LogConfig=LogConfig(Type="syslog"))))
        assert ORIGIN_DOCUMENTS.decode(msgspec.json.encode(origin)) == origin
        assert msgspec.json.decode(ORIGIN_DOCUMENTS.encode(origin))["document_version"] == 1
