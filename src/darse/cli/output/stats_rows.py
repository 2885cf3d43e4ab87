# ruff: noqa: N802 - methods are named as the placeholders
"""What a container uses as a row: the placeholders of `stats --format`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from darse.cli.output.format import Row
from darse.units import binary_size, human_size

HEADINGS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
DEFAULT = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
_UNKNOWN = "--"


class StatsRow(Row):
    """One sample; `document` is empty as long as there is none."""

    GO_NAME: ClassVar[str] = "*container.statsContext"

    def __init__(self, container: str, document: Mapping[str, Any], *, truncate: bool = True) -> None:
        super().__init__(document, truncate=truncate)
        self._container = container

    def Container(self) -> str:
        return self._container

    def ID(self) -> str:
        return self.id_text(self.document.get("id", "")) or _UNKNOWN

    def Name(self) -> str:
        return str(self.document.get("name", "")).removeprefix("/") or _UNKNOWN

    def CPUPerc(self) -> str:
        return f"{cpu_percent(self.document):.2f}%" if self.document else _UNKNOWN

    def MemUsage(self) -> str:
        if not self.document:
            return f"{_UNKNOWN} / {_UNKNOWN}"
        used, limit = _memory(self.document)
        return f"{binary_size(used)} / {binary_size(limit)}"

    def MemPerc(self) -> str:
        if not self.document:
            return _UNKNOWN
        used, limit = _memory(self.document)
        return f"{used / limit * 100 if limit else 0:.2f}%"

    def NetIO(self) -> str:
        if not self.document:
            return _UNKNOWN
        networks = (self.document.get("networks") or {}).values()
        received, sent = (sum(one[key] for one in networks) for key in ("rx_bytes", "tx_bytes"))
        return f"{human_size(received, 3)} / {human_size(sent, 3)}"

    def BlockIO(self) -> str:
        if not self.document:
            return _UNKNOWN
        entries = self.document["blkio_stats"].get("io_service_bytes_recursive") or ()
        read, written = (sum(one["value"] for one in entries if one["op"][:1].lower() == letter) for letter in "rw")
        return f"{human_size(read, 3)} / {human_size(written, 3)}"

    def PIDs(self) -> str:
        return str(self.document["pids_stats"].get("current", 0)) if self.document else _UNKNOWN


def cpu_percent(sample: Mapping[str, Any]) -> float:
    """Of one processor: a container that keeps two of them busy uses 200 %."""
    now, before = sample["cpu_stats"], sample["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    processors = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return used / passed * processors * 100 if used > 0 and passed > 0 else 0.0


def _memory(sample: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes in use, without what the kernel would give up at once, and the limit."""
    memory = sample["memory_stats"]
    details = memory.get("stats") or {}
    used = memory.get("usage", 0)
    # On cgroup version 1 the sums of the whole tree have names of their own.
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    return used - inactive if inactive < used else used, memory.get("limit", 0)
