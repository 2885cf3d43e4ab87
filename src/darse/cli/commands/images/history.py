# ruff: noqa: N802 - methods are named as the placeholders
"""`history`: the steps that made an image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.images import platforms
from darse.cli.output.format import FORMAT_HELP, Row, ago, write
from darse.cli.output.table import ellipsis
from darse.client.requests import images
from darse.units import human_size

_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_TABLE = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_PLAIN_TABLE = _TABLE.replace("CreatedSince", "CreatedAt")
# Images made reproducible carry a time before this; it says nothing.
_MEANINGFUL_SINCE = 946_684_800


class HistoryRow(Row):
    """A step."""

    GO_NAME: ClassVar[str] = "*image.historyContext"

    def __init__(self, document: Mapping[str, Any], *, truncate: bool, human: bool) -> None:
        super().__init__(document, truncate=truncate)
        self._human = human

    def ID(self) -> str:
        return self.id_text(self.document["Id"])

    def CreatedAt(self) -> str:
        text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.document["Created"]))
        return text[:-5] + "Z" if text.endswith("+0000") else f"{text[:-2]}:{text[-2:]}"

    def CreatedSince(self) -> str:
        if not self._human:
            return self.CreatedAt()
        return "N/A" if self.document["Created"] <= _MEANINGFUL_SINCE else ago(self.document["Created"])

    def CreatedBy(self) -> str:
        text = str(self.document["CreatedBy"]).replace("\t", " ")
        return ellipsis(text, 45) if self.truncate else text

    def Size(self) -> str:
        return human_size(self.document["Size"], 3) if self._human else str(self.document["Size"])

    def Comment(self) -> str:
        return str(self.document["Comment"])


def history(invocation: Invocation) -> int:
    """Print the history of an image."""
    options = invocation.options
    platform = platforms.given(options.platform)
    steps = invocation.client.do(images.history(invocation.arguments[0], platform=platform))
    source = options.format
    if source in ("", "table"):
        source = "{{.ID}}" if options.quiet else _TABLE if options.human else _PLAIN_TABLE
    rows = (HistoryRow(step, truncate=not options.no_trunc, human=options.human) for step in steps)
    write(source, rows, _HEADINGS, may_fit=not options.format and not options.no_trunc)
    return 0


COMMANDS = {
    "image history": (
        Command(
            "image history",
            "[OPTIONS] IMAGE",
            "Show the history of an image",
            (
                string("format", FORMAT_HELP),
                switch("human", "Print sizes and dates in human readable format", "H", default=True),
                switch("no-trunc", "Don't truncate output"),
                string("platform", f"Show history for the given platform. {platforms.FORM}"),
                switch("quiet", "Only show image IDs", "q"),
            ),
            1,
            1,
        ),
        history,
    )
}
