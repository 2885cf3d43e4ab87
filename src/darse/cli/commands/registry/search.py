# ruff: noqa: N802 - methods of rows are named as the placeholders
"""`search`: images of Docker Hub, or of the registry that the term begins with."""

from __future__ import annotations

from typing import ClassVar

from darse.cli.command_line.flags import Command, listing, number, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.output.format import Row, write
from darse.cli.output.table import ellipsis
from darse.cli.settings import credentials
from darse.client.requests import images
from darse.image_spec.references import split

_HEADINGS = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}
_TABLE = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"


class SearchRow(Row):
    """A repository that was found."""

    GO_NAME: ClassVar[str] = "*registry.searchContext"

    def Name(self) -> str:
        return str(self.document["name"])

    def Description(self) -> str:
        text = str(self.document.get("description", "")).replace("\n", " ").replace("\r", " ")
        return ellipsis(text, 45) if self.truncate else text

    def StarCount(self) -> str:
        return str(self.document.get("star_count", 0))

    def IsOfficial(self) -> str:
        return "[OK]" if self.document.get("is_official") else ""

    def for_json(self) -> SearchRow:
        """The row with its flags as words."""
        return _JsonRow(self.document, truncate=self.truncate)


class _JsonRow(SearchRow):
    """The row in JSON, where a flag is a word."""

    def IsOfficial(self) -> str:
        return "true" if self.document.get("is_official") else "false"

    def for_json(self) -> SearchRow:
        return self


def search(invocation: Invocation) -> int:
    """Print what was found, in the registry's order."""
    options = invocation.options
    (term,) = invocation.arguments
    request = images.search(
        term,
        limit=options.limit or None,
        filters=parse_filters(options.filter),
        credentials=credentials.registry_auth(invocation.settings, split(term).domain),
    )
    rows = [SearchRow(one, truncate=not options.no_trunc) for one in invocation.client.do(request) or ()]
    source = options.format
    write(_TABLE if source in ("", "table") else source, rows, _HEADINGS, may_fit=not source and not options.no_trunc)
    return 0


COMMANDS = {
    "search": (
        Command(
            "search",
            "[OPTIONS] TERM",
            "Search Docker Hub for images",
            (
                listing("filter", "Filter output based on conditions provided", "f", "filter"),
                string("format", "Pretty-print search using a Go template"),
                number("limit", "Max number of search results"),
                switch("no-trunc", "Don't truncate output"),
            ),
            1,
            1,
            examples="darse search --filter is-official=true postgres\ndarse search registry.example.com/team/app",
        ),
        search,
    )
}
