"""The HTTP status of each of the engine's errors."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import darse
from darse.api.errors import STATUSES, TooLarge, status_of
from darse.core.errors import EngineError, NoSpace, NotFound, SystemFault
from darse.runtime.oci.errors import CommandNotFound


def _derived(kind: type[EngineError]) -> Iterator[type[EngineError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _derived(one)


def test_every_error_of_the_tree_has_a_status() -> None:
    for module in pkgutil.walk_packages(darse.__path__, "darse."):
        if not module.name.startswith("darse.cli") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    of_the_tree = {kind for kind in _derived(EngineError) if kind.__module__.startswith("darse.")}
    assert {CommandNotFound, NoSpace, TooLarge} < of_the_tree
    assert not [kind for kind in of_the_tree if not any(one in STATUSES for one in kind.__mro__)]
    assert not [kind for kind in of_the_tree if hasattr(kind, "status")], "services know nothing of HTTP"


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotFound("x"), 404), (SystemFault("x"), 500), (NoSpace("x"), 500), (CommandNotFound("x"), 400)],
)
def test_an_error_has_the_status_of_the_nearest_class(error: EngineError, status: int) -> None:
    assert status_of(error) == status
