"""`/exec`: further processes in containers."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, AttachRequest, LazyModule, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.containers import ExecConfigDocument, ExecInspectDocument, ExecStartRequestDocument
    from darse.wire import execs as wire
    from darse.wire.execs import ExecConfig, ExecInspect
else:
    wire = LazyModule("darse.wire.execs")


def _path(exec_id: str, operation: str) -> str:
    return f"/exec/{quote(require_name(exec_id, 'exec'))}{operation}"


def create(container: str, config: ExecConfig | ExecConfigDocument) -> ApiRequest[dict[str, str], dict[str, str]]:
    """Prepare a further process in a container; the answer has its `Id`."""
    return ApiRequest(
        "POST", f"/containers/{quote(require_name(container, 'container'))}/exec", lambda: dict[str, str], {}, config
    )


def start(exec_id: str, *, terminal: bool = False, console_size: tuple[int, int] | None = None) -> AttachRequest:
    """Run an exec; the connection is its streams. `console_size`: lines and columns of its terminal."""
    body: ExecStartRequestDocument = {"Detach": False, "Tty": terminal}
    if console_size is not None:
        body["ConsoleSize"] = list(console_size)
    return AttachRequest("POST", _path(exec_id, "/start"), {}, body)


def start_detached(exec_id: str, *, terminal: bool = False) -> ApiRequest[None, None]:
    """Run an exec that nobody is attached to."""
    body: ExecStartRequestDocument = {"Detach": True, "Tty": terminal}
    return ApiRequest("POST", _path(exec_id, "/start"), nothing, {}, body)


def resize(exec_id: str, *, height: int, width: int) -> ApiRequest[None, None]:
    """Tell an exec's terminal its size, in characters."""
    return ApiRequest("POST", _path(exec_id, "/resize"), nothing, {"h": height, "w": width})


def inspect(exec_id: str) -> ApiRequest[ExecInspect, ExecInspectDocument]:
    """What became of an exec."""
    return ApiRequest("GET", _path(exec_id, "/json"), lambda: wire.ExecInspect)
