"""`--cache-from` and `--cache-to`: caches of builds in registries, in images, and in directories of this machine."""

from __future__ import annotations

import os

from darse.cli.errors import CliError
from darse.client.requests import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from darse.client.blocking import Client


class LocalCaches:
    """The directories of one build."""

    def __init__(self, sources: list[str], targets: list[str]) -> None:
        """sources, targets: the values of the flags. Raises CliError for a local one without a directory."""
        self.cache_from: list[str] = []
        """As the engine reads them."""
        self.cache_to = list(targets)
        self._sources: dict[str, str] = {}
        self._targets = [_directory(entry, "dest") for entry in targets if _is_local(entry)]
        for entry in sources:
            if not _is_local(entry):
                self.cache_from.append(entry)
                continue
            name = f"cache {len(self._sources)}"
            directory = _directory(entry, "src")
            if os.path.isdir(directory):
                self._sources[name] = directory
                self.cache_from.append(f"type=local,context={name}")

    def archives(self) -> dict[str, Iterator[bytes]]:
        """What is sent: the directories by the names of their parts."""
        from darse.cli.building.context_archive import pack

        return {name: pack(os.path.realpath(directory), ()) for name, directory in self._sources.items()}

    def fetch(self, client: Client, tokens: list[str]) -> None:
        """Fetch what was exported for this machine. Raises CliError."""
        from darse.cli.building.outputs import extract

        for token, directory in zip(tokens, self._targets, strict=True):
            response = client.open(builds.exported_cache(token))
            extract(response.pieces(), directory)
            response.close()


def _is_local(entry: str) -> bool:
    return "type=local" in entry.split(",")


def _directory(entry: str, name: str) -> str:
    for part in entry.split(","):
        key, _, value = part.partition("=")
        if key == name and value:
            return value
    raise CliError(f"invalid cache {entry}: local cache needs {name}")
