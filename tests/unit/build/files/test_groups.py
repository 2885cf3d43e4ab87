"""Which actions of a file operation change one tree."""

from __future__ import annotations

from darse.build.files.groups import group_changes
from darse.build.graph import EMPTY, CopyAction, FileAction, FileOperation, MkdirAction, MkfileAction

_MAKE = MkdirAction(path="/d")
_WRITE = MkfileAction(path="/f", data=b"")
_COPY = CopyAction(source="/", destination="/")


def _groups(*actions: FileAction, inputs: int = 1) -> list[tuple[int, int, int, int]]:
    """Base, number of changes, result and output of each group."""
    groups = group_changes(FileOperation(actions), inputs)
    return [(one.base, len(one.changes), one.result, one.output) for one in groups]


def test_actions_that_follow_each_other_make_one_layer() -> None:
    assert _groups(FileAction(_MAKE, 0), FileAction(_WRITE, 1), FileAction(_WRITE, 2, output=0)) == [(0, 3, 3, 0)]


def test_a_result_that_is_an_output_is_not_changed_further() -> None:
    assert _groups(FileAction(_MAKE, 0, output=0), FileAction(_WRITE, 1, output=1)) == [(0, 1, 1, 0), (1, 1, 2, 1)]


def test_a_result_that_two_use_is_committed_before() -> None:
    found = _groups(FileAction(_MAKE, 0), FileAction(_WRITE, 1, output=0), FileAction(_COPY, EMPTY, 1, output=1))
    assert found == [(0, 1, 1, -1), (1, 1, 2, 0), (-1, 1, 3, 1)]


def test_a_tree_that_is_copied_into_itself_is_committed_before() -> None:
    assert _groups(FileAction(_MAKE, 0), FileAction(_COPY, 1, 1, output=0)) == [(0, 1, 1, -1), (1, 1, 2, 0)]


def test_two_actions_on_nothing_are_two_trees() -> None:
    found = _groups(FileAction(_MAKE), FileAction(_MAKE), FileAction(_COPY, 0, 1, output=0), inputs=0)
    assert found == [(-1, 1, 1, -1), (-1, 2, 2, 0)]


def test_what_nobody_uses_is_not_made() -> None:
    assert _groups(FileAction(_MAKE, 0), FileAction(_WRITE, 0, output=0)) == [(0, 1, 2, 0)]
