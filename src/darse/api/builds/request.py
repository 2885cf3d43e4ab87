"""One `POST /build`: reads what is asked for, and chooses the form of its messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from darse import aiohttp_server as web
from darse.api import query
from darse.api.builds.classic import ClassicMessages
from darse.api.builds.options import read_request
from darse.api.builds.parts import MEDIA_TYPE as PARTS
from darse.api.builds.parts import BuildParts
from darse.api.builds.status import MEDIA_TYPE as STATUS
from darse.api.builds.status import StatusMessages
from darse.api.builds.stream import build_messages, quiet_messages
from darse.api.progress import Message
from darse.api.routing import Call
from darse.build.context.local import MAIN
from darse.build.progress import BuildReport, BuiltImage
from darse.build.request import BuildRequest
from darse.build.service import Archives


async def messages_of(call: Call) -> AsyncGenerator[list[Message]]:
    """The messages of the build that is asked for; it begins with the first of them. Raises InvalidParameter."""
    request, archives = await _asked(call.request)
    service = await call.engine.builds.load()

    def start(report: BuildReport) -> Coroutine[Any, Any, BuiltImage]:
        return service.build(request, archives, report)

    if query.accepted(call.request, ["application/json", STATUS], "application/json") == STATUS:
        return build_messages(start, StatusMessages())
    if query.flag(call.request, "q"):
        return quiet_messages(start, ClassicMessages())
    return build_messages(start, ClassicMessages())


async def _asked(request: web.BaseRequest) -> tuple[BuildRequest, Archives]:
    """The build that is asked for, and the archives that come with it."""
    asked = read_request(request)
    body = request.content.iter_any()
    if request.content_type != PARTS:
        return asked, _only(body)
    parts = BuildParts(body)
    return await parts.read_head(asked), parts.archives()


async def _only(body: AsyncIterator[bytes]) -> Archives:
    yield MAIN, body
