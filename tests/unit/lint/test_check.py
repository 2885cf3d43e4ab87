"""The linter of the project's language finds what it is to refuse, and its list of exceptions only gets shorter."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.engine import REPOSITORY

PROGRAM = REPOSITORY / "lint" / "check.py"
LONG = "def long():\n" + "    pass\n" * 60

ENDING = "class A:\n    def end(self): ...\n"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        spec = importlib.util.spec_from_file_location("lint_check", PROGRAM)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PROGRAM.parent))
    return module


def entries(check: ModuleType, root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [violation.entry for violation in check.violations(root)]


@pytest.mark.parametrize(
    ("name", "source", "entry"),
    [
        ("patience.py", "", "names: module patience"),
        ("a.py", "class ExecsAhead: ...", "names: class ExecsAhead"),
        ("a.py", "async def _be_patient(): ...", "names: function _be_patient"),
        ("a.py", 'Option("power-loss", "flag")', "names: flag power-loss"),
        ("a.py", "def stop(patience: int): ...", "names: parameter patience"),
        ("a.py", "def stop(*, patience: int = 1): ...", "names: parameter patience"),
        ("a.py", "stop = lambda patience: None", "names: parameter patience"),
        ("a.py", "_PATIENCE = 5", "names: variable _PATIENCE"),
        ("a.py", "class A:\n    way_out: str = ''", "names: variable way_out"),
        ("a.py", "for way_out, b in (): ...", "names: variable way_out"),
        ("a.py", "if (told := 1): ...", "names: variable told"),
        ("a.py", "match 1:\n    case [int() as told]: ...", "names: variable told"),
        ("a.py", "try: ...\nexcept OSError as refusal: ...", "names: variable refusal"),
        ("a.py", "import os as strangers", "names: alias strangers"),
        ("a.py", "class A:\n    def b(self): self._told = 1", "names: attribute _told"),
        ("a.py", 'raise ValueError("a name is wanted")', "texts: is wanted: a name is wanted"),
        ("a.py", 'print(f"{1}: for  want\\nof it")', "texts: for want of: : for want of it"),
        ("a.py", '"""A name is wanted."""', "texts: is wanted: A name is wanted."),
        ("a.py", 'def b():\n    """What b is\n    told."""', "texts: is told: What b is told."),
        ("a.py", "a = 1  # the client is told", "texts: is told: the client is told"),
        ("a.py", "# the client is\n# told of it", "texts: is told: the client is told of it"),
        ("a.py", "class A:\n    def __init__(self): self.b = lambda _: []", "callbacks: self.b"),
        ("a.py", f"{ENDING}def join(a, b): b.stop = a.end", "callbacks: b.stop"),
        ("a.py", f"{ENDING}    def join(self): self.b.stop = self.end", "callbacks: self.b.stop"),
        ("build/a.py", "layers = images.stores.layers", "stores: images.stores"),
        ("a.py", LONG, "functions: long"),
        ("a.py", "class A:\n" + "".join(f"    {line}\n" for line in LONG.splitlines()), "functions: A.long"),
    ],
)
def test_what_is_refused(check: ModuleType, tmp_path: Path, name: str, source: str, entry: str) -> None:
    assert entries(check, tmp_path, {f"src/darse/{name}": source}) == [entry]


@pytest.mark.parametrize(
    "source",
    [
        "# What the client is\nb = 1\n# told of it",
        "# names of other libraries\na = b.told() + wanted(patience=1)[refusal]",
        "def outpatients(): ...",
        'Option("cgroup-favor-moves", "flag")',
        LONG.replace("    pass\n", "", 1),
        "class _Private: ...",
        f"{ENDING}    def __init__(self, a): self.stop = a.end",
        f"{ENDING}class B:\n    end: int\ndef join(a, b): b.stop = a.end",
        "class A:\n    @property\n    def end(self): ...\ndef join(a, b): b.stop = a.end",
    ],
)
def test_what_is_not(check: ModuleType, tmp_path: Path, source: str) -> None:
    assert entries(check, tmp_path, {"src/darse/a.py": source, "src/darse/b.py": "class _Private: ..."}) == []


def test_two_public_classes_of_one_name(check: ModuleType, tmp_path: Path) -> None:
    files = {"src/darse/a.py": "class State: ...", "src/darse/b.py": "class State: ..."}
    assert entries(check, tmp_path, files) == ["classes: State"]


def test_a_folder_with_many_modules(check: ModuleType, tmp_path: Path) -> None:
    files = {f"src/darse/room/m{number}.py": "" for number in range(25)} | {"src/darse/room/__init__.py": ""}
    assert entries(check, tmp_path, files) == []
    assert entries(check, tmp_path, {"src/darse/room/one_more.py": ""}) == ["folders: src/darse/room"]


def test_pages_are_read(check: ModuleType, tmp_path: Path) -> None:
    files = {"docs/a.md": "# Seen through\n", "README.md": "`--cgroup-favor-moves`\n"}
    assert entries(check, tmp_path, files) == [
        "texts: cgroup-favor-moves: `--cgroup-favor-moves`",
        "texts: seen through: # Seen through",
    ]


def test_the_list_holds_for_as_many_as_it_has_and_gets_shorter(check: ModuleType) -> None:
    found = [check.Violation("names", "class A"), check.Violation("names", "class A")]
    assert check.compare(found, Counter({"names: class A": 2})) == ([], Counter())
    assert check.compare(found, Counter({"names: class A": 1})) == (found[1:], Counter())
    assert check.compare(found[1:], Counter({"names: class A": 2})) == ([], Counter({"names: class A": 1}))


def test_modules_that_import_each_other_are_a_circle(check: ModuleType, tmp_path: Path) -> None:
    files = {
        "a.py": "from darse.inner import b",
        "inner/__init__.py": "",
        "inner/b.py": "import darse.c",
        "c.py": "from darse.a import x\n",
        "d.py": "from darse import a\n",
    }
    found = entries(check, tmp_path, {f"src/darse/{name}": text for name, text in files.items()})
    assert found == ["circles: darse.a darse.c darse.inner.b"]


@pytest.mark.parametrize("line", ["def later():\n    import darse.a", "if TYPE_CHECKING:\n    from darse import a", ""])
def test_what_is_imported_later_makes_no_circle(check: ModuleType, tmp_path: Path, line: str) -> None:
    assert entries(check, tmp_path, {"src/darse/a.py": "import darse.b", "src/darse/b.py": line}) == []
