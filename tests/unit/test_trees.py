"""Trees are walked in one module only: whoever recurses elsewhere is stopped by what a container nests.

ruff bans the calls that have names (pyproject.toml); here is what it cannot see.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src/darse"
WALKER = SOURCES / "linux/fs/contained.py"
_METHODS = frozenset(("rglob", "walk", "rmtree", "fwalk"))
_LISTINGS = frozenset(("scandir", "listdir", "iterdir"))
# What a file must have for `faults` to find anything: parsing all of them takes seconds.
_SIGNS = re.compile(rf"\b({'|'.join(sorted(_METHODS | _LISTINGS))})\b|['\"]\*\*['\"]")


def faults(tree: ast.AST) -> Iterator[str]:
    """Walks by methods, and functions that list a directory and call themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            yield f"{node.lineno}: .{node.func.attr}()"
        if isinstance(node, ast.Constant) and node.value == "**":
            yield f"{node.lineno}: a glob of any depth"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            called = {
                one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
                for one in ast.walk(node)
                if isinstance(one, ast.Call)
            }
            if node.name in _own_calls(node) and called & _LISTINGS:
                yield f"{node.lineno}: {node.name} lists directories and calls itself"


def _own_calls(function: ast.AST) -> set[str]:
    """What it calls by a bare name, or of its own object."""
    calls = [one.func for one in ast.walk(function) if isinstance(one, ast.Call)]
    bare = {one.id for one in calls if isinstance(one, ast.Name)}
    return bare | {
        one.attr
        for one in calls
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self"
    }


def test_trees_are_walked_in_one_module() -> None:
    found = [
        f"{path.relative_to(SOURCES)}:{fault}"
        for path in SOURCES.rglob("*.py")
        if path != WALKER and _SIGNS.search(text := path.read_text())
        for fault in faults(ast.parse(text))
    ]
    assert not found, "use darse.linux.fs.contained:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "for path in top.rglob('*'): pass",
        "shutil.rmtree(top)",
        "def sizes(top):\n    for entry in os.scandir(top):\n        sizes(entry.path)",
    ],
)
def test_what_is_forbidden_is_found(text: str) -> None:
    assert _SIGNS.search(text)
    assert list(faults(ast.parse(text)))
