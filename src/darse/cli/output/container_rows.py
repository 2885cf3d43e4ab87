"""A container as a row: the placeholders of `ps --format`, which `system df -v` shows as well."""

# ruff: noqa: N802 - methods are named as the placeholders

from __future__ import annotations

from darse.cli.output.format import Row, ago, labels_text, local_time, short_id
from darse.cli.output.table import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

HEADINGS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
_TABLE = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_RAW = """container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
"""


def default_format(source: str, *, quiet: bool, size: bool) -> str:
    """The format that `source` stands for."""
    if source == "raw":
        return "container_id: {{.ID}}" if quiet else _RAW + ("size: {{.Size}}\n" if size else "")
    if quiet:
        return "{{.ID}}"
    return _TABLE + ("\t{{.Size}}" if size else "") if source in ("", "table") else source


class ContainerRow(Row):
    """A container of a list."""

    GO_NAME: ClassVar[str] = "*formatter.ContainerContext"

    def __init__(self, document: Mapping[str, Any], *, truncate: bool = True) -> None:
        super().__init__(document, truncate=truncate)
        self.size_was_asked = False

    def ID(self) -> str:
        return self.id_text(self.document.get("Id", ""))

    def Names(self) -> str:
        names = [name.removeprefix("/") for name in self.document.get("Names") or ()]
        if self.truncate:
            names = next(([name] for name in names if "/" not in name), names)
        return ",".join(names)

    def Image(self) -> str:
        image = str(self.document.get("Image") or "")
        if not image:
            return "<no image>"
        if not self.truncate:
            return image
        identifier = short_id(self.document.get("ImageID", ""))
        if identifier == short_id(image):
            return identifier
        named, _, digest = image.partition("@")
        return named if digest else image

    def Command(self) -> str:
        from darse.quoting import quote

        command = self.document.get("Command", "")
        return quote(ellipsis(command, 20) if self.truncate else command)

    def CreatedAt(self) -> str:
        return local_time(self.document.get("Created", 0))

    def RunningFor(self) -> str:
        return ago(self.document.get("Created", 0))

    def Platform(self) -> str | None:
        platform = (self.document.get("ImageManifestDescriptor") or {}).get("platform")
        if not platform:
            return None
        parts = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
        return "/".join(part for part in parts if part)

    def Ports(self) -> str:
        return ports_text(self.document.get("Ports") or [])

    def State(self) -> str:
        return str(self.document.get("State", ""))

    def Status(self) -> str:
        return str(self.document.get("Status", ""))

    def Size(self) -> str:
        from darse.units import human_size

        self.size_was_asked = True
        text = human_size(self.document.get("SizeRw", 0), 3)
        virtual = self.document.get("SizeRootFs", 0)
        return f"{text} (virtual {human_size(virtual, 3)})" if virtual > 0 else text

    def Labels(self) -> str:
        return labels_text(self.document.get("Labels"))

    def Label(self, name: str) -> str:
        return str((self.document.get("Labels") or {}).get(name, ""))

    def Mounts(self) -> str:
        names = [mount.get("Name") or mount.get("Source", "") for mount in self.document.get("Mounts") or ()]
        return ",".join(ellipsis(name, 15) if self.truncate else name for name in names)

    def LocalVolumes(self) -> str:
        return str(sum(mount.get("Driver") == "local" for mount in self.document.get("Mounts") or ()))

    def Networks(self) -> str:
        return ",".join(sorted((self.document.get("NetworkSettings") or {}).get("Networks") or {}))


def ports_text(ports: list[dict[str, Any]]) -> str:
    """Published ports and others, neighbours as a range: `0.0.0.0:8000-8001->8000-8001/tcp, 53/udp`."""

    def key(port: dict[str, Any]) -> tuple[int, str, int, str]:
        return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]

    groups: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for port in sorted(ports, key=key):
        private, address, protocol = port["PrivatePort"], port.get("IP", ""), port["Type"]
        if address and port.get("PublicPort", 0) != private:
            mapped.append(f"{_joined(address, str(port.get('PublicPort', 0)))}->{private}/{protocol}")
            continue
        group = groups.get((address, protocol))
        if group is not None and private == group[1] + 1:
            group[1] = private
            continue
        if group is not None:
            done.append(_group(address, protocol, group))
        groups[address, protocol] = [private, private]
    done += [_group(address, protocol, group) for (address, protocol), group in groups.items()]
    return ", ".join(done + mapped)


def _group(address: str, protocol: str, group: list[int]) -> str:
    text = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{_joined(address, text)}->{text}/{protocol}" if address else f"{text}/{protocol}"


def _joined(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
