"""Containers of a build end with it, also those that are being made meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from darse.build.errors import BuildError
from darse.buildkit.solving import containers
from darse.buildkit.wire import gateway_pb2, ops_pb2


class _Secrets:
    async def for_operations(self, operations: Any) -> None:
        """All are allowed."""


class _Host:
    session_secrets = _Secrets()


async def test_a_container_that_is_being_made_when_its_build_ends_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    closed = []

    async def opened(self: Any, *_: Any) -> None:
        begun.set()
        await go_on.wait()

    async def close(self: Any) -> None:
        closed.append(self)

    monkeypatch.setattr(containers.BuildContainer, "open", opened)
    monkeypatch.setattr(containers.BuildContainer, "close", close)
    host: Any = _Host()
    made = containers.BuildContainers(host)
    request = gateway_pb2.NewContainerRequest(ContainerID="one", Mounts=[ops_pb2.Mount(dest="/")])
    making = asyncio.create_task(made.create(request))
    await begun.wait()
    await made.close()
    go_on.set()
    with pytest.raises(BuildError, match="the build has ended"):
        await making
    assert len(closed) == 1
