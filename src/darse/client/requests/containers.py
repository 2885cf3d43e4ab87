"""`/containers`, but for their files, checkpoints and further processes."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import (
    ApiRequest,
    AttachRequest,
    DocumentsRequest,
    LazyModule,
    StreamsRequest,
    nothing,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.containers import (
        ContainerInspectDocument,
        ContainersPrunedDocument,
        ContainerSummaryDocument,
        CreateRequestDocument,
        CreateResponseDocument,
        WaitResponseDocument,
    )
    from darse.client.documents.host_config import ResourcesDocument
    from darse.client.documents.observation import (
        StatsResponseDocument,
        TopResponseDocument,
        UpdateResponseDocument,
    )
    from darse.client.requests import Filters
    from darse.wire import containers as wire
    from darse.wire import observation
    from darse.wire.containers import (
        ContainerInspect,
        ContainersPruned,
        ContainerSummary,
        CreateRequest,
        CreateResponse,
        WaitResponse,
    )
    from darse.wire.observation import StatsResponse, TopResponse, UpdateRequest, UpdateResponse
else:
    observation, wire = LazyModule("darse.wire.observation"), LazyModule("darse.wire.containers")


def _path(container: str, operation: str = "") -> str:
    return f"/containers/{quote(require_name(container, 'container'))}{operation}"


def create(
    config: CreateRequest | CreateRequestDocument, *, name: str = "", platform: str = ""
) -> ApiRequest[CreateResponse, CreateResponseDocument]:
    """Create a container; without a name it gets one."""
    query = {"name": name or None, "platform": platform or None}
    return ApiRequest("POST", "/containers/create", lambda: wire.CreateResponse, query, config)


def list_containers(
    *, all: bool = False, limit: int | None = None, size: bool = False, filters: Filters | None = None
) -> ApiRequest[list[ContainerSummary], list[ContainerSummaryDocument]]:
    """List the containers that run, or all."""
    query = {"all": all, "limit": limit, "size": size, "filters": filters}
    return ApiRequest("GET", "/containers/json", lambda: list[wire.ContainerSummary], query)


def inspect(container: str, *, size: bool = False) -> ApiRequest[ContainerInspect, ContainerInspectDocument]:
    """All about a container."""
    return ApiRequest("GET", _path(container, "/json"), lambda: wire.ContainerInspect, {"size": size})


def start(
    container: str, *, detach_keys: str = "", checkpoint: str = "", checkpoint_directory: str = ""
) -> ApiRequest[None, None]:
    """Start a container, from a checkpoint where one is named; nothing happens to one that runs."""
    query = {
        "detachKeys": detach_keys or None,
        "checkpoint": checkpoint or None,
        "checkpoint-dir": checkpoint_directory or None,
    }
    return ApiRequest("POST", _path(container, "/start"), nothing, query)


def stop(container: str, *, seconds: int | None = None, signal: str = "") -> ApiRequest[None, None]:
    """Ask a container to end, and kill it when it has not within `seconds`; -1 waits for ever."""
    return ApiRequest("POST", _path(container, "/stop"), nothing, {"t": seconds, "signal": signal or None})


def restart(container: str, *, seconds: int | None = None, signal: str = "") -> ApiRequest[None, None]:
    """Stop and start a container."""
    return ApiRequest("POST", _path(container, "/restart"), nothing, {"t": seconds, "signal": signal or None})


def kill(container: str, *, signal: str = "KILL") -> ApiRequest[None, None]:
    """Send a signal to a container's first process."""
    return ApiRequest("POST", _path(container, "/kill"), nothing, {"signal": signal})


def pause(container: str) -> ApiRequest[None, None]:
    """Freeze a container's processes."""
    return ApiRequest("POST", _path(container, "/pause"), nothing)


def unpause(container: str) -> ApiRequest[None, None]:
    """Let a container's processes go on."""
    return ApiRequest("POST", _path(container, "/unpause"), nothing)


def rename(container: str, name: str) -> ApiRequest[None, None]:
    """Give a container another name."""
    return ApiRequest("POST", _path(container, "/rename"), nothing, {"name": name})


def remove(container: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> ApiRequest[None, None]:
    """Remove a container; `force` kills one that runs, `volumes` removes its anonymous volumes, too."""
    return ApiRequest("DELETE", _path(container), nothing, {"force": force, "v": volumes, "link": link})


def wait(container: str, *, condition: str = "not-running") -> ApiRequest[WaitResponse, WaitResponseDocument]:
    """Answer when a container has reached a condition: not-running, next-exit or removed."""
    return ApiRequest("POST", _path(container, "/wait"), lambda: wire.WaitResponse, {"condition": condition})


def update(
    container: str, limits: UpdateRequest | ResourcesDocument
) -> ApiRequest[UpdateResponse, UpdateResponseDocument]:
    """Change a container's limits and, in an `UpdateRequestDocument`, its restart policy."""
    return ApiRequest("POST", _path(container, "/update"), lambda: observation.UpdateResponse, {}, limits)


def resize(container: str, *, height: int, width: int) -> ApiRequest[None, None]:
    """Tell a container's terminal its size, in characters."""
    return ApiRequest("POST", _path(container, "/resize"), nothing, {"h": height, "w": width})


def top(container: str, *, ps_args: str = "-ef") -> ApiRequest[TopResponse, TopResponseDocument]:
    """The processes of a container; the engine has arguments of its own where `ps_args` is empty."""
    query = {"ps_args": ps_args or None}
    return ApiRequest("GET", _path(container, "/top"), lambda: observation.TopResponse, query)


def stats(
    container: str, *, one_shot: bool = False, stream: bool = True
) -> DocumentsRequest[StatsResponse, StatsResponseDocument]:
    """What a container uses, once a second; without `stream` once, after a second, and with `one_shot` at once."""
    query = {"stream": "1" if stream and not one_shot else "0", "one-shot": one_shot}
    return DocumentsRequest("GET", _path(container, "/stats"), lambda: observation.StatsResponse, query)


def logs(
    container: str,
    *,
    follow: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    since: str | None = None,
    until: str | None = None,
    timestamps: bool = False,
    tail: str = "all",
    details: bool = False,
) -> StreamsRequest:
    """What a container has printed, and with `follow` what it goes on to print."""
    query = {
        "follow": follow,
        "stdout": stdout,
        "stderr": stderr,
        "since": since or None,
        "until": until or None,
        "timestamps": timestamps,
        "tail": tail,
        "details": details,
    }
    return StreamsRequest("GET", _path(container, "/logs"), query)


def attach(
    container: str,
    *,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    logs: bool = False,
    detach_keys: str = "",
) -> AttachRequest:
    """The standard streams of a container; `logs` begins with what it has printed."""
    query = {
        "stream": True,
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "logs": logs,
        "detachKeys": detach_keys or None,
    }
    return AttachRequest("POST", _path(container, "/attach"), query)


def prune(*, filters: Filters | None = None) -> ApiRequest[ContainersPruned, ContainersPrunedDocument]:
    """Remove the containers that do not run."""
    return ApiRequest("POST", "/containers/prune", lambda: wire.ContainersPruned, {"filters": filters})
