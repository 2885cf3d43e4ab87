"""What cannot be run is refused when it is added, whoever sent it."""

from __future__ import annotations

import pytest

from darse.build.errors import InvalidGraph
from darse.build.graph import (
    EMPTY,
    CacheMount,
    CopyAction,
    DiffOperation,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    ImageSource,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    MountKind,
    ProcessMeta,
    RemoveAction,
    SecretEnvironment,
    SecretMount,
    SymlinkAction,
    UserName,
)
from darse.build.graph.operations import FileChange, Operation
from darse.build.graph.validation import check_operation

_ROOT = ExecMount("/", 0, output=0)


def _exec(*mounts: ExecMount, **fields: object) -> ExecOperation:
    return ExecOperation(ProcessMeta(("true",), **fields), mounts or (_ROOT,))  # type: ignore[arg-type]


def _file(change: FileChange, first: int = 0, second: int = EMPTY, output: int = 0) -> FileOperation:
    return FileOperation((FileAction(change, first, second, output),))


@pytest.mark.parametrize(
    ("operation", "inputs", "outputs"),
    [
        (ImageSource(reference="a"), 0, 1),
        (_exec(), 1, 1),
        (_exec(ExecMount("/", output=0)), 0, 1),
        (_exec(_ROOT, ExecMount("/c", kind=MountKind.CACHE, cache=CacheMount())), 1, 1),
        (_exec(_ROOT, ExecMount("/c", 1, "sub", kind=MountKind.CACHE, cache=CacheMount())), 2, 1),
        (_exec(_ROOT, ExecMount("/s", kind=MountKind.SECRET, secret=SecretMount("x"))), 1, 1),
        (_exec(_ROOT, ExecMount("/t", kind=MountKind.TMPFS, tmpfs_size=5)), 1, 1),
        (_exec(ExecMount("/", 0, output=1), ExecMount("/m", 1, output=0)), 2, 2),
        (MergeOperation((0, EMPTY, 0)), 1, 1),
        (DiffOperation(EMPTY, 0), 1, 1),
        (_file(CopyAction(source="/", destination="/"), 0, 1), 2, 1),
        (_file(MkfileAction(path="/a", data=b"", owner=FileOwner(UserName("n", 0), 3))), 1, 1),
        (
            FileOperation(
                (
                    FileAction(MkdirAction(path="/a"), EMPTY),
                    FileAction(CopyAction(source="a", destination="b"), 0, 1, 0),
                )
            ),
            1,
            1,
        ),
    ],
)
def test_valid(operation: Operation, inputs: int, outputs: int) -> None:
    assert check_operation(operation, inputs) == outputs


@pytest.mark.parametrize(
    ("operation", "inputs", "error"),
    [
        (ImageSource(reference="a"), 1, "source operation with inputs"),
        (ExecOperation(ProcessMeta(()), (_ROOT,)), 1, "no arguments"),
        (ExecOperation(ProcessMeta(("true",)), ()), 1, "no mounts"),
        (_exec(directory="work"), 1, "'work' is not absolute"),
        (_exec(environment=("A=\0",)), 1, "null character"),
        (_exec(ExecMount("/a", 0)), 1, "exactly one mount must be at /"),
        (_exec(_ROOT, ExecMount("//", 0)), 1, "exactly one mount must be at /"),
        (_exec(_ROOT, ExecMount("a", 0)), 1, "must be absolute"),
        (_exec(_ROOT, ExecMount("/a", 1)), 1, "input 1 of 1"),
        (_exec(_ROOT, ExecMount("/a", -2)), 1, "input -2 of 1"),
        (_exec(_ROOT, ExecMount("/a", 0, "../b")), 1, "leaves the input"),
        (_exec(_ROOT, ExecMount("/a", 0, "b/..")), 1, "leaves the input"),
        (_exec(_ROOT, ExecMount("/a", EMPTY, "b")), 1, "a selector without an input"),
        (_exec(_ROOT, ExecMount("/a", kind=MountKind.TMPFS, output=1)), 1, "a tmpfs mount has no output"),
        (_exec(_ROOT, ExecMount("/a", kind=MountKind.CACHE)), 1, "missing cache mount options"),
        (_exec(_ROOT, ExecMount("/a", kind=MountKind.SSH)), 1, "missing ssh mount options"),
        (_exec(_ROOT, ExecMount("/a", 0, kind=MountKind.SECRET, secret=SecretMount("x"))), 1, "has no input"),
        (_exec(_ROOT, ExecMount("/a", kind=MountKind.SECRET, secret=SecretMount("x", mode=0o10000))), 1, "mode 10000"),
        (_exec(_ROOT, ExecMount("/a", kind=MountKind.TMPFS, tmpfs_size=-1)), 1, "a size of -1"),
        (_exec(ExecMount("/", 0, output=1)), 1, r"numbered from 0, each once, not \[1\]"),
        (_exec(_ROOT, ExecMount("/a", 0, output=0)), 1, r"not \[0, 0\]"),
        (_exec(ExecMount("/", 0, output=-2)), 1, r"not \[-2\]"),
        (ExecOperation(ProcessMeta(("x",)), (_ROOT,), secrets=(SecretEnvironment("a", "B=C"),)), 1, "invalid secret"),
        (MergeOperation(()), 0, "merge operation with no inputs"),
        (MergeOperation((0, 2)), 2, "input 2 of 2"),
        (DiffOperation(0, 1), 1, "input 1 of 1"),
        (FileOperation(()), 0, "no actions"),
        (_file(MkdirAction(path="")), 1, "an empty path"),
        (_file(MkdirAction(path="/a\0")), 1, "null character"),
        (_file(SymlinkAction(path="/a", target="")), 1, "an empty path"),
        (_file(MkdirAction(path="/a", mode=0o10000)), 1, "mode 10000"),
        (_file(MkdirAction(path="/a"), 0, 0), 1, "only a copy has a second input"),
        (_file(RemoveAction(path="/a"), 1), 1, "input 1 of 1"),
        (_file(CopyAction(source="/", destination="/"), 0, 1), 1, "input 1 of 1"),
        (_file(MkdirAction(path="/a", owner=FileOwner(2**32))), 1, "owner 4294967296"),
        (_file(MkdirAction(path="/a", owner=FileOwner(UserName("n", 3)))), 1, "input 3 of 1"),
        (_file(MkdirAction(path="/a"), output=1), 1, "numbered from 0"),
    ],
)
def test_invalid(operation: Operation, inputs: int, error: str) -> None:
    with pytest.raises(InvalidGraph, match=error):
        check_operation(operation, inputs)


def test_an_action_cannot_need_a_later_one() -> None:
    later = FileAction(CopyAction(source="/", destination="/"), 1, 2)
    with pytest.raises(InvalidGraph, match="input 2 of 2"):
        check_operation(FileOperation((FileAction(MkdirAction(path="/a"), 0), later)), 1)
