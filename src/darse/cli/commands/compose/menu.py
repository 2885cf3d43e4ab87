"""The keys of an attached `up`: `w` watches or no longer does, `d` lets the containers run on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.progress import LiveProgress, chosen_progress, uses_colours
from darse.cli.terminal.shortcuts import ShortcutLine
from darse.compose.errors import ComposeError
from darse.compose.operations.session import ProjectSession

_YES = frozenset({"1", "t", "true", "y"})


def has_menu(invocation: Invocation, session: ProjectSession) -> bool:
    """Whether keys are offered: on a terminal, unless `--menu` or COMPOSE_MENU says no."""
    environment = session.project.environment if session.project is not None else os.environ
    setting = environment.get("COMPOSE_MENU")
    is_enabled = setting is None or setting.strip().lower() in _YES
    if "menu" in invocation.options.given:
        is_enabled = invocation.options.menu
    is_terminal = os.isatty(0) and os.isatty(1)
    return is_enabled and is_terminal and isinstance(chosen_progress(invocation), LiveProgress)


class WatchSwitch:
    """Whether the files of services are watched beside their output."""

    def __init__(self, session: ProjectSession, services: Sequence[str]) -> None:
        self._session = session
        self._services = list(services)
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Whether files are watched at the moment."""
        return self._watching is not None

    def start(self) -> None:
        """Watch. Raises ComposeError where nothing is to be watched."""
        from darse.cli.commands.compose.watching.watch import follow, triggers

        assert self._session.project is not None
        found = triggers(self._session.project, self._services)
        self._watching = asyncio.create_task(follow(self._session, found))
        self._watching.add_done_callback(self._ended)

    def _ended(self, watching: asyncio.Task[None]) -> None:
        if self._watching is watching:
            self._watching = None
        if not watching.cancelled() and (error := watching.exception()) is not None:
            self._session.warn(f"watch: {error}")

    def cancel(self) -> None:
        """Watch no longer."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def stop(self) -> None:
        """Watch no longer, and wait until the last change is done with."""
        watching = self._watching
        self.cancel()
        if watching is not None:
            await asyncio.gather(watching, return_exceptions=True)


def shortcuts(
    invocation: Invocation, session: ProjectSession, watching: WatchSwitch, let_go: Callable[[], None]
) -> ShortcutLine:
    """The line of keys; it goes out of the way of what the session prints."""

    def toggle() -> None:
        if watching.is_on:
            watching.cancel()
            session.settle()
            sys.stderr.write("Watch disabled\n")
            sys.stderr.flush()
            return
        try:
            watching.start()
        except ComposeError as error:
            line.show_message(f"Watch →  {error}")
        line.show_soon()

    def words() -> list[tuple[str, str]]:
        return [("w", "Disable Watch" if watching.is_on else "Enable Watch"), ("d", "Detach")]

    line = ShortcutLine({"w": toggle, "d": let_go}, words, colours=uses_colours(invocation, 1))
    session.decorate(line.hide, line.show_soon)
    return line
