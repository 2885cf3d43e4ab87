# ruff: noqa: N802 - methods are named as the placeholders
"""A managed plugin as a row: the placeholders of `plugin ls --format`."""

from __future__ import annotations

from typing import ClassVar

from darse.cli.output.format import Row

HEADINGS = {
    "ID": "ID",
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "Enabled": "ENABLED",
    "PluginReference": "PLUGIN REFERENCE",
}
_SHORT_DESCRIPTION = 45


class PluginRow(Row):
    """A plugin of a list."""

    GO_NAME: ClassVar[str] = "*formatter.pluginContext"

    def ID(self) -> str:
        return self.id_text(str(self.document["Id"]))

    def Name(self) -> str:
        return str(self.document["Name"])

    def Description(self) -> str:
        text = " ".join(str(self.document["Config"].get("Description") or "").split())
        return text if not self.truncate or len(text) <= _SHORT_DESCRIPTION else f"{text[: _SHORT_DESCRIPTION - 1]}…"

    def Enabled(self) -> str:
        return "true" if self.document["Enabled"] else "false"

    def PluginReference(self) -> str:
        return str(self.document["PluginReference"])
