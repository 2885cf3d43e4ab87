"""What a client sends to a process waits in the engine in bounds, and never for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from darse.build.errors import BuildError
from darse.buildkit.services.processes import ProcessCall, _ClientProcess
from darse.buildkit.solving.containers import BuildContainers
from darse.buildkit.wire import gateway_pb2


class _Stream:
    """A client that takes all messages."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_message(self, message: Any) -> None:
        self.sent.append(message)


class _Containers(BuildContainers):
    """Containers in which nothing can be run."""

    def __init__(self) -> None:
        pass

    def find(self, name: str) -> Any:
        raise BuildError("it cannot be run")


async def test_input_of_a_process_that_takes_none_is_bounded_by_its_bytes() -> None:
    stream: Any = _Stream()
    containers = _Containers()
    call = ProcessCall(stream, containers)
    process = _ClientProcess(call, "one", gateway_pb2.InitMessage(ContainerID="c", Fds=[0]))
    piece = gateway_pb2.FdMessage(Fd=0, Data=bytes(600_000))
    await process.take_input(piece)
    await process.take_input(piece)
    third = asyncio.create_task(process.take_input(piece))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not third.done()
    # It ends, without having taken any: who waits to send it more goes on.
    await process.run(containers)
    await third
    await process.take_input(piece)
    assert [one.WhichOneof("Input") for one in stream.sent] == ["Started", "Exit", "Done"]
    assert stream.sent[1].Exit.Error.message == "it cannot be run"
