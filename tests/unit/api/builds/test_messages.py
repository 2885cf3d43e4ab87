"""Docker's classic stream of builds, and the typed one, of builds with an executor in memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from darse.api.builds.classic import ClassicMessages
from darse.api.builds.status import StatusMessages
from darse.api.builds.stream import MessageForm, build_messages, quiet_messages
from darse.build.errors import BuildError, ProcessFailed
from darse.build.progress import BuildPlanned, BuildReport, BuiltImage, DockerfileRead
from darse.build.solver import MemoryCacheStorage, Solver, VertexLog
from darse.core.errors import InvalidParameter
from tests.unit.build.dockerfile.convert.support import FakeImages, converted
from tests.unit.build.solver.fake import FakeExecutor

IMAGE = "sha256:" + "ab" * 32
BASE = f"docker.io/library/busybox:latest@sha256:{'0' * 64}"


class Engine:
    """Builds without a context, on one cache."""

    def __init__(self) -> None:
        self.executor = FakeExecutor({BASE: {"bin": "x"}, "context": {"a": "1"}})
        self.solver = Solver(self.executor, MemoryCacheStorage())

    async def build(self, text: str, report: BuildReport, names: tuple[str, ...] = ()) -> BuiltImage:
        report(DockerfileRead("Dockerfile", text))
        found = await converted(text, FakeImages())
        report(BuildPlanned(found.steps, found.definition))
        self.solver.release(await self.solver.solve(found.definition, report))
        return BuiltImage(IMAGE, names)

    async def messages(self, text: str, form: MessageForm | None = None, **options: Any) -> list[dict[str, Any]]:
        stream = build_messages(lambda report: self.build(text, report, **options), form or ClassicMessages())
        return [message async for messages in stream for message in messages]


def text_of(messages: list[dict[str, Any]]) -> list[str]:
    """The lines of a stream, without the ids of steps."""
    lines = "".join(message.get("stream", "") for message in messages).splitlines()
    return [line if not line.startswith(" ---> ") or " " in line[6:] else " ---> ID" for line in lines]


async def test_steps_come_in_the_order_of_the_dockerfile() -> None:
    found = await Engine().messages('FROM busybox\nENV A=b\nRUN one\nCMD ["x"]\n', names=("app:latest", "app:2"))
    short = [line for line in text_of(found) if not line.startswith((" ---> Running", " ---> Removed"))]
    assert short == [
        "Step 1/4 : FROM busybox",
        " ---> ID",
        "Step 2/4 : ENV A=b",
        " ---> ID",
        "Step 3/4 : RUN one",
        "running",
        " ---> ID",
        'Step 4/4 : CMD ["x"]',
        " ---> ID",
        "Successfully built abababababab",
        "Successfully tagged app:latest",
        "Successfully tagged app:2",
    ]
    assert {"aux": {"ID": IMAGE}} in found


async def test_what_was_in_the_cache_is_said_also_of_what_nobody_asked_for() -> None:
    engine = Engine()
    dockerfile = "FROM busybox\nRUN one\nRUN two\n"
    await engine.messages(dockerfile)
    assert text_of(await engine.messages(dockerfile))[:-1] == [
        "Step 1/3 : FROM busybox",
        " ---> ID",
        "Step 2/3 : RUN one",
        " ---> Using cache",
        " ---> ID",
        "Step 3/3 : RUN two",
        " ---> Using cache",
        " ---> ID",
    ]


async def test_what_later_steps_say_waits_for_their_turn() -> None:
    engine = Engine()
    engine.executor.gates["/bin/sh"] = asyncio.Event()
    dockerfile = "FROM busybox AS a\nRUN one\nFROM busybox AS b\nRUN two\nCOPY --from=a / /\n"
    task = asyncio.create_task(engine.messages(dockerfile))
    await engine.executor.has_started("/bin/sh")
    engine.executor.gates["/bin/sh"].set()
    lines = text_of(await task)
    assert [line for line in lines if line.startswith("Step") or line == "running"] == [
        "Step 1/5 : FROM busybox AS a",
        "Step 2/5 : RUN one",
        "running",
        "Step 3/5 : FROM busybox AS b",
        "Step 4/5 : RUN two",
        "running",
        "Step 5/5 : COPY --from=a / /",
    ]


async def test_a_stage_that_is_not_needed_is_no_step() -> None:
    found = await Engine().messages("FROM busybox AS a\nRUN one\nFROM busybox\nRUN two\n")
    assert [line for line in text_of(found) if line.startswith("Step")] == [
        "Step 1/2 : FROM busybox",
        "Step 2/2 : RUN two",
    ]


async def test_a_failed_process_gives_its_status() -> None:
    engine = Engine()

    async def failing(*_: object) -> Any:
        await asyncio.sleep(0)
        raise ProcessFailed(("/bin/sh", "-c", "exit 7"), 7)

    engine.executor.run = failing  # type: ignore[method-assign]
    found = await engine.messages("FROM busybox\nRUN exit 7\n")
    text = "The command '/bin/sh -c exit 7' returned a non-zero code: 7"
    assert found[-1] == {"errorDetail": {"code": 7, "message": text}, "error": text}
    found = await engine.messages("FROM busybox\nRUN exit 7\n", StatusMessages())
    said = 'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7'
    assert found[-1]["errorDetail"] == {"code": 7, "message": said}
    assert "   2 | >>> RUN exit 7" in found[-1]["source"]


async def test_an_error_before_the_first_message_is_the_requests() -> None:
    with pytest.raises(InvalidParameter, match="unknown instruction: FRO"):
        await Engine().messages("FRO busybox\n")


async def test_quiet_is_the_id_or_all_that_would_have_been_said() -> None:
    engine = Engine()
    stream = quiet_messages(lambda report: engine.build("FROM busybox\nRUN one\n", report), ClassicMessages())
    assert [messages async for messages in stream] == [[{"stream": f"{IMAGE}\n"}]]

    async def failing(report: BuildReport) -> BuiltImage:
        await engine.build("FROM busybox\nRUN one\n", report)
        raise BuildError("no more")

    found = [message async for messages in quiet_messages(failing, ClassicMessages()) for message in messages]
    assert found[0]["stream"].startswith("Step 1/2")
    assert found[-1]["error"] == "no more"


async def test_a_client_that_goes_ends_the_build() -> None:
    engine = Engine()
    engine.executor.gates["/bin/sh"] = asyncio.Event()
    stream = build_messages(lambda report: engine.build("FROM busybox\nRUN one\n", report), ClassicMessages())
    await anext(stream)
    await engine.executor.has_started("/bin/sh")
    await stream.aclose()
    assert engine.executor.cancelled == ["/bin/sh"]
    assert not engine.executor.running


async def test_a_slow_client_does_not_fill_the_memory() -> None:
    async def build(report: BuildReport) -> BuiltImage:
        for _ in range(100):
            report(VertexLog("v", 1, bytes(1 << 20)))
        await asyncio.sleep(0)
        return BuiltImage(IMAGE)

    logs = [
        base64.b64decode(log["data"])
        async for messages in build_messages(build, StatusMessages())
        for message in messages
        for log in message.get("logs", ())
    ]
    assert sum(map(len, logs)) < 10 << 20
    assert b"output clipped" in logs[-1]


async def status(engine: Engine, text: str) -> AsyncIterator[dict[str, Any]]:
    for message in await engine.messages(text, StatusMessages()):
        for vertex in message.get("vertexes", ()):
            yield vertex


async def test_the_typed_stream_has_every_vertex_with_its_end() -> None:
    engine = Engine()
    found = [vertex async for vertex in status(engine, "FROM busybox\nRUN one\nRUN two\n")]
    ended = {one["name"]: one.get("cached", False) for one in found if "completed" in one}
    assert ended == {f"[1/3] FROM {BASE}": False, "[2/3] RUN one": False, "[3/3] RUN two": False}
    again = [vertex async for vertex in status(engine, "FROM busybox\nRUN one\nRUN two\n")]
    ended = {one["name"]: one.get("cached", False) for one in again if "completed" in one}
    assert ended == {f"[1/3] FROM {BASE}": True, "[2/3] RUN one": True, "[3/3] RUN two": True}


async def test_many_steps_hold_the_loop_for_no_longer_than_few() -> None:
    """A Dockerfile may have fifty thousand that change no file: what is said of them is made and sent in parts."""
    text = "FROM busybox\n" + "".join(f"ENV A{number % 9}={number}\n" for number in range(2_000))
    found = await converted(text, FakeImages())
    planned = BuildPlanned(found.steps, found.definition)

    async def build(report: BuildReport) -> BuiltImage:
        report(planned)
        return BuiltImage(IMAGE)

    form = ClassicMessages()
    assert len(list(form.of(planned))) < 10
    assert len(form._steps) <= 1
    parts = [messages async for messages in build_messages(build, ClassicMessages())]
    assert max(map(len, parts)) <= 500
    lines = text_of([message for messages in parts for message in messages])
    assert lines[-3:] == ["Step 2001/2001 : ENV A1=1999", " ---> ID", f"Successfully built {IMAGE[7:19]}"]
