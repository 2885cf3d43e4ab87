"""What a command's function gets: its options and arguments, and the engine."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Options
from darse.cli.errors import CliError
from darse.cli.settings.config import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from darse.client.blocking import Client


class Invocation:
    """One run of a command."""

    def __init__(
        self,
        path: str,
        options: Options,
        arguments: list[str],
        settings: Settings,
        group_options: Options | None = None,
    ) -> None:
        self.path = path
        self.options = options
        self.arguments = arguments
        self.settings = settings
        # The flags between the words of a command: `compose -f FILE config`.
        self.group_options = group_options
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The engine; connected to when it is first used."""
        if self._client is None:
            from darse.client.blocking import Client

            headers = self.settings.member("HttpHeaders", dict)
            self._client = Client(self.settings.endpoint(), headers, debug=self.settings.debug)
        return self._client

    def __enter__(self) -> Invocation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the engine, where there are any."""
        if self._client is not None:
            self._client.close()

    def for_each(self, action: Callable[[str], Any], *, show: bool = True) -> int:
        """Do something with each argument, go on after errors, and return the exit status.

        Prints each argument that went well, as docker does.
        """
        status = 0
        for argument in self.arguments:
            try:
                action(argument)
            except CliError as error:
                sys.stderr.write(f"{error}\n")
                status = max(status, error.status)
            else:
                if show:
                    sys.stdout.write(f"{argument}\n")
        return status


def confirm(text: str) -> bool:
    """Ask a question; anything but y is no."""
    sys.stdout.write(f"{text} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
