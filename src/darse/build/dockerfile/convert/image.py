"""An image's configuration while its stage is built, and the history, as docker writes both."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COMMENT = "buildkit.dockerfile.v0"


class HistoryLine(msgspec.Struct, frozen=True):
    """What one instruction did."""

    created_by: str
    empty_layer: bool
    created: str = ""
    comment: str = _COMMENT
    author: str = ""

    def document(self) -> dict[str, Any]:
        """As it is in a configuration document."""
        found: dict[str, Any] = {}
        if self.created:
            found["created"] = self.created
        found["created_by"] = self.created_by
        if self.author:
            found["author"] = self.author
        if self.comment:
            found["comment"] = self.comment
        if self.empty_layer:
            found["empty_layer"] = True
        return found


class ImageDocument(msgspec.Struct):
    """An image but for its layers."""

    platform: str = ""
    """As the image has it, `linux/arm64`."""
    os_version: str = ""
    config: dict[str, Any] = {}
    """The `config` member: `Env`, `Cmd` and so on."""
    history: list[HistoryLine] = []
    author: str = ""
    diff_ids: list[str] = []
    """Layers of the base."""
    _places: dict[str, int] = {}
    """Where variables are in `Env`, as far as it was looked through: `_searched` entries."""
    _searched: int = 0

    @classmethod
    def empty(cls, platform: str) -> ImageDocument:
        """The image that `scratch` stands for."""
        return cls(platform, config={"WorkingDir": "/", "Env": [f"PATH={DEFAULT_PATH}"]})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ImageDocument:
        """From a configuration document."""
        parts = [document.get(key) or "" for key in ("os", "architecture", "variant")]
        return cls(
            "/".join(filter(None, parts)),
            document.get("os.version") or "",
            copy.deepcopy({key: value for key, value in (document.get("config") or {}).items() if value is not None}),
            [_line(entry) for entry in document.get("history") or ()],
            document.get("author") or "",
            list((document.get("rootfs") or {}).get("diff_ids") or ()),
        )

    def clone(self) -> ImageDocument:
        """One that can be changed."""
        return copy.deepcopy(self)

    def environment(self) -> dict[str, str]:
        """`Env` as a mapping."""
        return {name: value for name, _, value in (entry.partition("=") for entry in self.config.get("Env") or ())}

    def set_environment(self, name: str, value: str) -> None:
        """Set a variable at its place, or at the end."""
        entries = self.config.setdefault("Env", [])
        for index in range(self._searched, len(entries)):
            self._places.setdefault(entries[index].partition("=")[0], index)
        self._searched = len(entries)
        if (place := self._places.get(name)) is not None:
            entries[place] = f"{name}={value}"
        else:
            entries.append(f"{name}={value}")

    def shell(self) -> list[str]:
        """What runs commands that are one text."""
        return list(self.config.get("Shell") or ["/bin/sh", "-c"])

    def commit(self, created_by: str, *, layer: bool, epoch: int | None, files: bool = False) -> None:
        """Add a line to the history. files: BuildKit marks those of instructions that run or copy."""
        created = "" if epoch is None else timestamp(epoch)
        text = f"{created_by} # buildkit" if files else created_by
        self.history.append(HistoryLine(text, not layer, created))

    def document(self) -> dict[str, Any]:
        """The configuration document, without `rootfs` and `created`, which the exporter knows."""
        system, _, rest = self.platform.partition("/")
        architecture, _, variant = rest.partition("/")
        found: dict[str, Any] = {"architecture": architecture, "os": system}
        if variant:
            found["variant"] = variant
        if self.os_version:
            found["os.version"] = self.os_version
        if self.author:
            found["author"] = self.author
        found["config"] = {key: value for key, value in self.config.items() if value not in (None, "", [], {}, False)}
        found["history"] = [line.document() for line in self.history]
        return found


def _line(entry: Mapping[str, Any]) -> HistoryLine:
    return HistoryLine(
        entry.get("created_by") or "",
        bool(entry.get("empty_layer")),
        entry.get("created") or "",
        entry.get("comment") or "",
        entry.get("author") or "",
    )


def timestamp(seconds: int) -> str:
    """RFC 3339."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
