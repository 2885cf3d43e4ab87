"""`/containers/{id}/checkpoints`: the state of a container's processes, kept."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, LazyModule, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.containers import CheckpointSummaryDocument
    from darse.wire import checkpoints as wire
    from darse.wire.checkpoints import CheckpointSummary
else:
    wire = LazyModule("darse.wire.checkpoints")


def _path(container: str, checkpoint: str = "") -> str:
    path = f"/containers/{quote(require_name(container, 'container'))}/checkpoints"
    return f"{path}/{quote(require_name(checkpoint, 'checkpoint'))}" if checkpoint else path


def create(container: str, name: str, *, directory: str = "", leave_running: bool = False) -> ApiRequest[None, None]:
    """Keep the state of a container's processes; the container ends unless `leave_running`."""
    body = {"CheckpointID": name, "CheckpointDir": directory, "Exit": not leave_running}
    return ApiRequest("POST", _path(container), nothing, {}, body)


def list_checkpoints(
    container: str, *, directory: str = ""
) -> ApiRequest[list[CheckpointSummary], list[CheckpointSummaryDocument]]:
    """List the checkpoints of a container."""
    query = {"dir": directory or None}
    return ApiRequest("GET", _path(container), lambda: list[wire.CheckpointSummary], query)


def remove(container: str, name: str, *, directory: str = "") -> ApiRequest[None, None]:
    """Remove a checkpoint of a container."""
    return ApiRequest("DELETE", _path(container, name), nothing, {"dir": directory or None})
