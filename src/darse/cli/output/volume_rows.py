# ruff: noqa: N802 - methods are named as the placeholders
"""A volume as a row: the placeholders of `volume ls --format`."""

from __future__ import annotations

from typing import ClassVar

from darse.cli.output.format import Row, labels_text

HEADINGS = {
    "ID": "ID",
    "Name": "VOLUME NAME",
    "Group": "GROUP",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Availability": "AVAILABILITY",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Status": "STATUS",
}


class VolumeRow(Row):
    """A volume of a list."""

    GO_NAME: ClassVar[str] = "*formatter.volumeContext"

    def Name(self) -> str:
        return str(self.document["Name"])

    def Driver(self) -> str:
        return str(self.document["Driver"])

    def Scope(self) -> str:
        return str(self.document["Scope"])

    def Mountpoint(self) -> str:
        return str(self.document["Mountpoint"])

    def Labels(self) -> str:
        return labels_text(self.document.get("Labels"))

    def Label(self, name: str) -> str:
        return str((self.document.get("Labels") or {}).get(name, ""))

    def Links(self) -> str:
        usage = self.document.get("UsageData")
        return str(usage["RefCount"]) if usage else "N/A"

    def Size(self) -> str:
        from darse.units import human_size

        usage = self.document.get("UsageData")
        return human_size(usage["Size"]) if usage else "N/A"

    def Group(self) -> str:
        return "N/A"  # of cluster volumes

    def Availability(self) -> str:
        return "N/A"

    def Status(self) -> str:
        return "N/A"
