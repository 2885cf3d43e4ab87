"""Which parts of its inputs an operation depends on."""

from __future__ import annotations

import pytest

from darse.build.graph import (
    CacheMount,
    ContentCache,
    CopyAction,
    DiffOperation,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    InputDependency,
    MergeOperation,
    MkdirAction,
    MountKind,
    ProcessMeta,
    RemoveAction,
    Selector,
    UserName,
    dependencies,
)
from darse.build.graph.operations import Operation
from darse.build.graph.selectors import has_wildcard

_DEFINITION = InputDependency()
_ALL = InputDependency(by_content=True)
_ROOT = ExecMount("/", 0, output=0)


def _exec(*mounts: ExecMount) -> ExecOperation:
    return ExecOperation(ProcessMeta(("x",)), mounts)


def _content(*paths: str, follow: bool = True) -> InputDependency:
    return InputDependency(True, tuple(Selector(path, follow_links=follow) for path in paths))


def _copy(source: str, first: int = 0, second: int = 1, **fields: object) -> FileAction:
    return FileAction(CopyAction(source=source, destination="/d", **fields), first, second)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operation", "inputs", "expected"),
    [
        pytest.param(_exec(_ROOT), 1, [_DEFINITION], id="a root is known by how it was made"),
        pytest.param(_exec(ExecMount("/", 0, read_only=True)), 1, [_DEFINITION], id="a read-only root, too"),
        pytest.param(_exec(_ROOT, ExecMount("/m", 1, "src")), 2, [_DEFINITION, _content("/src")], id="no output"),
        pytest.param(_exec(_ROOT, ExecMount("/m", 1)), 2, [_DEFINITION, _ALL], id="all of it"),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "src", read_only=True, output=1)),
            2,
            [_DEFINITION, InputDependency(False, (Selector("/src", follow_links=True),))],
            id="a read-only part, too",
        ),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "src", output=1)),
            2,
            [_DEFINITION, InputDependency(False, (Selector("/src", follow_links=True),))],
            id="a writable part is passed on with what is not selected",
        ),
        pytest.param(_exec(_ROOT, ExecMount("/m", 1, output=1)), 2, [_DEFINITION, _ALL], id="writable, but all"),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "a"), ExecMount("/n", 1, "a/b"), ExecMount("/o", 1, "ab")),
            2,
            [_DEFINITION, _content("/a", "/ab")],
            id="parts of parts are left out",
        ),
        pytest.param(_exec(_ROOT, ExecMount("/m", 0, "a")), 1, [_DEFINITION], id="also the root"),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "a", content_cache=ContentCache.OFF)),
            2,
            [_DEFINITION, InputDependency(False, (Selector("/a", follow_links=True),))],
        ),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "a", output=1, content_cache=ContentCache.ON)),
            2,
            [_DEFINITION, _content("/a")],
        ),
        pytest.param(
            _exec(_ROOT, ExecMount("/m", 1, "a", kind=MountKind.CACHE, cache=CacheMount())),
            2,
            [_DEFINITION, _content("/a")],
        ),
        pytest.param(_exec(_ROOT), 2, [_DEFINITION, _DEFINITION], id="an input that nothing mounts"),
        pytest.param(MergeOperation((0, 1)), 2, [_DEFINITION, _DEFINITION]),
        pytest.param(DiffOperation(0, 1), 2, [_DEFINITION, _DEFINITION]),
        pytest.param(
            FileOperation((_copy("/a"), _copy("/b", first=2))), 2, [_DEFINITION, _content("/a", "/b", follow=False)]
        ),
        pytest.param(
            FileOperation((_copy("*.c", allow_wildcard=True, follow_symlink=True, exclude_patterns=("x.c",)),)),
            2,
            [_DEFINITION, InputDependency(True, (Selector("*.c", True, True, (), ("x.c",)),))],
        ),
        pytest.param(
            FileOperation((_copy("a.c", allow_wildcard=True),)), 2, [_DEFINITION, _content("a.c", follow=False)]
        ),
        pytest.param(
            FileOperation((_copy("/a"), FileAction(RemoveAction(path="/x"), 1))),
            2,
            [_DEFINITION, _DEFINITION],
            id="what is changed is not only looked at",
        ),
        pytest.param(FileOperation((_copy("/a", second=2),)), 2, [_DEFINITION, _DEFINITION], id="of an action"),
        pytest.param(
            FileOperation(
                (FileAction(MkdirAction(path="/x", owner=FileOwner(UserName("u", 1), UserName("g", 1))), 0),)
            ),
            2,
            [_DEFINITION, _content("/etc/group", "/etc/passwd")],
        ),
    ],
)
def test_dependencies(operation: Operation, inputs: int, expected: list[InputDependency]) -> None:
    assert list(dependencies(operation, inputs)) == expected


@pytest.mark.parametrize(
    ("path", "expected"), [("a", False), ("a*", True), ("a\\*", False), ("a?", True), ("[a]", True), ("a\\\\*", True)]
)
def test_wildcards(path: str, expected: bool) -> None:
    assert has_wildcard(path) is expected
