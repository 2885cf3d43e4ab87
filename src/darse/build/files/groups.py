"""File operations on snapshots: which actions change which tree, in which order.

Actions that only follow each other, each on the result of the one before, change one tree, and make one layer. A result
that something else uses as well is committed before it is changed further.
"""

from __future__ import annotations

import msgspec

from darse.build.errors import BuildError
from darse.build.graph.operations import EMPTY, SKIP_OUTPUT, CopyAction, FileChange, FileOperation


class TreeChange(msgspec.Struct, frozen=True):
    """One action on the tree of its group; `source` is a tree that it copies from."""

    change: FileChange
    source: int = EMPTY


class ChangeGroup(msgspec.Struct, frozen=True):
    """Actions on one tree. Trees are numbers: those of the inputs, then the results of the actions, then `EMPTY`."""

    base: int
    changes: tuple[TreeChange, ...]
    result: int
    """The number of the tree that it makes."""
    output: int = SKIP_OUTPUT

    @property
    def unpacks(self) -> bool:
        """Whether an archive may have to be read."""
        return any(isinstance(one.change, CopyAction) and one.change.unpack for one in self.changes)

    @property
    def sources(self) -> tuple[int, ...]:
        """The trees that are copied from."""
        return tuple(dict.fromkeys(one.source for one in self.changes if isinstance(one.change, CopyAction)))


def group_changes(operation: FileOperation, inputs: int) -> list[ChangeGroup]:
    """The groups of an operation, in the order in which they can be run. Raises BuildError."""
    actions = operation.actions
    users = [0] * (inputs + len(actions))
    for action in actions:
        for tree in {action.input, action.second_input}:
            if tree != EMPTY:
                users[tree] += 1
    groups: list[ChangeGroup] = []
    for index, action in enumerate(actions):
        result = inputs + index
        if action.input >= result or action.second_input >= result:
            raise BuildError(f"invalid file operation: action {index} is made from a later one")
        change = TreeChange(action.change, action.second_input if isinstance(action.change, CopyAction) else EMPTY)
        last = next((at for at, group in enumerate(groups) if group.result == action.input), None)
        alone = users[action.input] == 1 and action.second_input != action.input if action.input != EMPTY else False
        if last is not None and alone and groups[last].output == SKIP_OUTPUT:
            before = groups.pop(last)
            groups.append(ChangeGroup(before.base, (*before.changes, change), result, action.output))
        else:
            groups.append(ChangeGroup(action.input, (change,), result, action.output))
    return [group for group in groups if group.output != SKIP_OUTPUT or users[group.result]]
