"""Unit tests stand where their subject stands, so that whoever looks for a module's tests finds them by its path."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.engine import REPOSITORY

_SOURCE, _TESTS = REPOSITORY / "src" / "darse", REPOSITORY / "tests" / "unit"
# What is tested here and is no part of the package, by the folder that has it.
_BESIDE = {"lint": "lint", "setup": "setup", "catalog": "tests/catalog", "support": "tests/support"}


def misplaced(source: Path, tests: Path, beside: dict[str, Path]) -> Iterator[str]:
    """Tests in folders that the source has not, and tests apart from the module that they are named by."""
    modules = {path.name for path in source.rglob("*.py")}
    for test in sorted(tests.rglob("test_*.py")):
        folder = test.parent.relative_to(tests)
        if not beside.get(str(folder), source / folder).is_dir():
            yield f"{test.relative_to(tests)}: the source has no folder {folder}"
        name = f"{test.stem.removeprefix('test_')}.py"
        if name in modules and not (source / folder / name).is_file():
            named = [module for module in _imported(test, source) if module.name == name]
            if named:
                yield f"{test.relative_to(tests)}: belongs beside {named[0]}"


def _imported(test: Path, source: Path) -> Iterator[Path]:
    """The modules of the package that a test imports, by their paths in it."""
    for node in ast.walk(ast.parse(test.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            path = Path(*rest.split(".")).with_suffix(".py") if package == source.name and rest else None
            # What darse.testing has is what others are tested with.
            if path is not None and path.parts[0] != "testing" and (source / path).is_file():
                yield path


def test_unit_tests_mirror_the_source() -> None:
    beside = {name: REPOSITORY / folder for name, folder in _BESIDE.items()}
    assert list(misplaced(_SOURCE, _TESTS, beside)) == []


def test_what_is_misplaced_is_found(tmp_path: Path) -> None:
    source, tests = tmp_path / "darse", tmp_path / "tests"
    for name, text in {
        "darse/logs/reader.py": "",
        "darse/stop.py": "",
        "tests/logs/test_reader.py": "from darse.logs.reader import read",
        "tests/logs/test_stop.py": "from darse import stop",
        "tests/tails/test_all.py": "import darse.logs.reader",
        "tests/setup/test_all.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(misplaced(source, tests, {"setup": tmp_path})) == [
        "logs/test_stop.py: belongs beside stop.py",
        "tails/test_all.py: the source has no folder tails",
    ]
