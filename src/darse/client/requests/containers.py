"""`/containers` and `/exec`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.request import (
    ApiRequest,
    AttachRequest,
    BytesRequest,
    DocumentsRequest,
    Filters,
    StreamsRequest,
)
from darse.wire.archives import DirectoryListing
from darse.wire.containers import (
    ContainerInspect,
    ContainersPruned,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    WaitResponse,
)
from darse.wire.execs import ExecConfig, ExecInspect
from darse.wire.observation import FilesystemChange, StatsResponse, TopResponse, UpdateRequest, UpdateResponse


def _path(container: str, operation: str) -> str:
    return f"/containers/{quote(require_name(container, 'container'))}{operation}"


def create(config: CreateRequest, *, name: str = "", platform: str = "") -> ApiRequest[CreateResponse]:
    """Create a container; without a name it gets one."""
    return ApiRequest(
        "POST", "/containers/create", CreateResponse, {"name": name or None, "platform": platform or None}, config
    )


def list_containers(
    *, all: bool = False, limit: int | None = None, size: bool = False, filters: Filters | None = None
) -> ApiRequest[list[ContainerSummary]]:
    """List the containers that run, or all."""
    query = {"all": all, "limit": limit, "size": size, "filters": filters}
    return ApiRequest("GET", "/containers/json", list[ContainerSummary], query)


def inspect(container: str, *, size: bool = False) -> ApiRequest[ContainerInspect]:
    """All about a container."""
    return ApiRequest("GET", _path(container, "/json"), ContainerInspect, {"size": size})


def start(container: str, *, detach_keys: str = "") -> ApiRequest[None]:
    """Start a container; nothing happens to one that runs."""
    return ApiRequest("POST", _path(container, "/start"), type(None), {"detachKeys": detach_keys or None})


def stop(container: str, *, seconds: int | None = None, signal: str = "") -> ApiRequest[None]:
    """Ask a container to end, and kill it when it has not within `seconds`; -1 waits for ever."""
    return ApiRequest("POST", _path(container, "/stop"), type(None), {"t": seconds, "signal": signal or None})


def restart(container: str, *, seconds: int | None = None, signal: str = "") -> ApiRequest[None]:
    """Stop and start a container."""
    return ApiRequest("POST", _path(container, "/restart"), type(None), {"t": seconds, "signal": signal or None})


def kill(container: str, *, signal: str = "KILL") -> ApiRequest[None]:
    """Send a signal to a container's first process."""
    return ApiRequest("POST", _path(container, "/kill"), type(None), {"signal": signal})


def pause(container: str) -> ApiRequest[None]:
    """Freeze a container's processes."""
    return ApiRequest("POST", _path(container, "/pause"), type(None))


def unpause(container: str) -> ApiRequest[None]:
    """Let a container's processes go on."""
    return ApiRequest("POST", _path(container, "/unpause"), type(None))


def rename(container: str, name: str) -> ApiRequest[None]:
    """Give a container another name."""
    return ApiRequest("POST", _path(container, "/rename"), type(None), {"name": name})


def remove(container: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> ApiRequest[None]:
    """Remove a container; `force` kills one that runs, `volumes` removes its anonymous volumes, too."""
    return ApiRequest("DELETE", _path(container, ""), type(None), {"force": force, "v": volumes, "link": link})


def wait(container: str, *, condition: str = "not-running") -> ApiRequest[WaitResponse]:
    """Answer when a container has reached a condition: not-running, next-exit or removed."""
    return ApiRequest("POST", _path(container, "/wait"), WaitResponse, {"condition": condition})


def update(container: str, limits: UpdateRequest) -> ApiRequest[UpdateResponse]:
    """Change a container's limits and restart policy."""
    return ApiRequest("POST", _path(container, "/update"), UpdateResponse, {}, limits)


def resize(container: str, *, height: int, width: int) -> ApiRequest[None]:
    """Tell a container's terminal its size, in characters."""
    return ApiRequest("POST", _path(container, "/resize"), type(None), {"h": height, "w": width})


def top(container: str, *, ps_args: str = "-ef") -> ApiRequest[TopResponse]:
    """The processes of a container."""
    return ApiRequest("GET", _path(container, "/top"), TopResponse, {"ps_args": ps_args})


def changes(container: str) -> ApiRequest[list[FilesystemChange] | None]:
    """What a container has changed in the files of its image."""
    result: type[list[FilesystemChange] | None] = list[FilesystemChange] | None  # type: ignore[assignment]
    return ApiRequest("GET", _path(container, "/changes"), result)


def stats(container: str, *, one_shot: bool = False) -> DocumentsRequest[StatsResponse]:
    """What a container uses, once a second; `one_shot`: once, at once."""
    query = {"stream": "0" if one_shot else "1", "one-shot": one_shot}
    return DocumentsRequest("GET", _path(container, "/stats"), StatsResponse, query)


def logs(
    container: str,
    *,
    follow: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    since: str = "",
    until: str = "",
    timestamps: bool = False,
    tail: str = "all",
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
    }
    return StreamsRequest("GET", _path(container, "/logs"), bytes, query)


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
    return AttachRequest("POST", _path(container, "/attach"), bytes, query)


def archive(container: str, path: str) -> BytesRequest:
    """A path of a container as a tar archive."""
    return BytesRequest("GET", _path(container, "/archive"), bytes, {"path": path})


def put_archive(container: str, path: str, content: bytes, *, keep_kinds: bool = False) -> ApiRequest[None]:
    """Unpack a tar archive into a directory of a container. `keep_kinds`: no file takes a directory's place."""
    query = {"path": path, "noOverwriteDirNonDir": keep_kinds or None}
    return ApiRequest("PUT", _path(container, "/archive"), type(None), query, content=content)


def files(container: str, path: str) -> ApiRequest[DirectoryListing]:
    """What is at a path of a container, and in it (darse's own)."""
    return ApiRequest("GET", f"/darse{_path(container, '/files')}", DirectoryListing, {"path": path})


def export(container: str) -> BytesRequest:
    """The root file system of a container as a tar archive."""
    return BytesRequest("GET", _path(container, "/export"), bytes)


def prune(*, filters: Filters | None = None) -> ApiRequest[ContainersPruned]:
    """Remove the containers that do not run."""
    return ApiRequest("POST", "/containers/prune", ContainersPruned, {"filters": filters})


def create_exec(container: str, config: ExecConfig) -> ApiRequest[dict[str, str]]:
    """Prepare a further process in a container; the answer has its `Id`."""
    return ApiRequest("POST", _path(container, "/exec"), dict[str, str], {}, config)


def start_exec(exec_id: str, *, terminal: bool = False) -> AttachRequest:
    """Run an exec; the connection is its streams."""
    body = {"Detach": False, "Tty": terminal}
    return AttachRequest("POST", f"/exec/{quote(require_name(exec_id, 'exec'))}/start", bytes, {}, body)


def resize_exec(exec_id: str, *, height: int, width: int) -> ApiRequest[None]:
    """Tell an exec's terminal its size, in characters."""
    path = f"/exec/{quote(require_name(exec_id, 'exec'))}/resize"
    return ApiRequest("POST", path, type(None), {"h": height, "w": width})


def inspect_exec(exec_id: str) -> ApiRequest[ExecInspect]:
    """What became of an exec."""
    return ApiRequest("GET", f"/exec/{quote(require_name(exec_id, 'exec'))}/json", ExecInspect)
