"""One display for builds that run beside each other: the steps of each bear the name of what is built."""

from __future__ import annotations

import sys
import threading

from darse.cli.building.build_progress import BuildDisplay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_MEMBERS = (("vertexes", "digest"), ("statuses", "vertex"), ("logs", "vertex"))


class JointDisplay:
    """Several builds on one display, which is a context manager around all of them."""

    def __init__(self, display: BuildDisplay) -> None:
        self._display = display
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._display.__exit__(*raised)

    def part(self, name: str) -> BuildDisplay:
        """The display for one of the builds; it may be used in another thread."""
        return _Part(self._display, name, self._lock)


class _Part(BuildDisplay):
    """Hands the documents of one build on, marked with its name."""

    def __init__(self, display: BuildDisplay, name: str, lock: threading.Lock) -> None:
        super().__init__(display.out if display.out is not None else sys.stderr)
        self._whole = display
        self._name = name
        self._lock = lock

    def show(self, document: dict[str, Any]) -> None:
        """Take a status document."""
        super().show(document)
        marked = dict(document)
        for member, key in _MEMBERS:
            if found := document.get(member):
                marked[member] = [{**one, key: f"{self._name} {one[key]}"} for one in found]
        for one in marked.get("vertexes") or ():
            if "name" in one:
                one["name"] = _named(self._name, one["name"])
        with self._lock:
            self._whole.show(marked)

    def finish(self) -> None:
        """The whole says what there is to say at its end."""


def _named(name: str, step: str) -> str:
    """`[web 2/3] RUN …`, as the joint display of buildx names steps."""
    return f"[{name} {step[1:]}" if step.startswith("[") else f"[{name}] {step}"
