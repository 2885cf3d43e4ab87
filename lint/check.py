"""The part of `make lint` that no other linter has: the language of the project, and the size of its parts.

    names      no word of lint/words.py in the name of a module, class, function, parameter, variable, attribute or flag
    texts      no phrase of lint/words.py in messages, help, docstrings, comments and documentation
    classes    no two public classes with one name
    stores     no room but images/ reaches through `.stores`: ImageService has methods for the others
    callbacks  no lambda assigned to an attribute, and no method to one of another object: a reader who looks for a
               method finds it in its class
    functions  none longer than 60 lines
    folders    none with more than 25 modules directly inside
    circles    no modules that import each other, directly or through others, while they are loaded

That no import runs upwards is checked by lint-imports, which `make lint` runs, too.

lint/baseline.txt lists the violations that were there when a check began. A new one is an error, and so is an entry
that no longer occurs: `lint/check.py --shrink` takes it out. Nothing is ever added.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

from words import DOC_PHRASES, FORMER_FLAGS, NAMES, PHRASES

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("baseline.txt")
LONGEST_FUNCTION = 60
MOST_MODULES = 25
CHECKS = ("names", "texts", "classes", "stores", "callbacks", "functions", "folders", "circles")
# The functions that declare flags of the command, and of the engine; their first argument is the flag's name.
_FLAG_MAKERS = {"Flag", "Option", "choice", "duration", "integer", "listing", "string", "switch"}
_OWN = ("self", "cls")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Violation(NamedTuple):
    """Something that a check refuses. `subject` stays the same when the code is moved to another file or line."""

    check: str
    subject: str
    place: str = ""
    advice: str = ""

    @property
    def entry(self) -> str:
        """Its line in the baseline."""
        return f"{self.check}: {self.subject}"


def main() -> int:
    """Print what is wrong, and how much there is of what; the exit status is 1 when something is."""
    parser = argparse.ArgumentParser(description="check the project's language and the size of its parts")
    parser.add_argument("--shrink", action="store_true", help="take entries that no longer occur out of the baseline")
    shrink = parser.parse_args().shrink
    found = list(violations(ROOT))
    listed = Counter(BASELINE.read_text(encoding="utf-8").splitlines()) if BASELINE.exists() else Counter()
    new, gone = compare(found, listed)
    if shrink and gone:
        BASELINE.write_text("".join(f"{line}\n" for line in sorted((listed - gone).elements())), encoding="utf-8")
        print(f"{gone.total()} entries taken out of {BASELINE.relative_to(ROOT)}")
        gone.clear()
    for violation in new:
        advice = f" ({violation.advice})" if violation.advice else ""
        print(f"{violation.place}: {violation.entry}{advice}")
    for entry, count in sorted(gone.items()):
        print(f"{BASELINE.relative_to(ROOT)}: no longer there{f' {count} times' if count > 1 else ''}: {entry}")
    if gone:
        print("run lint/check.py --shrink")
    counts = Counter(violation.check for violation in found)
    print("banned or too large: " + ", ".join(f"{check} {counts[check]}" for check in CHECKS), end="")
    print(f"; {len(new)} new, {gone.total()} gone")
    lines, function = max(longest_functions(ROOT))
    modules, folder = max(sizes_of_folders(ROOT))
    print(f"longest function {lines} lines ({function}), largest folder {modules} modules ({folder})")
    return 1 if new or gone else 0


def compare(found: list[Violation], listed: Counter[str]) -> tuple[list[Violation], Counter[str]]:
    """The violations that are not listed, and the entries that no longer occur."""
    left = Counter(listed)
    new = []
    for violation in found:
        if left[violation.entry]:
            left[violation.entry] -= 1
        else:
            new.append(violation)
    return new, +left


def violations(root: Path) -> Iterator[Violation]:
    """Everything that is refused below a project's root."""
    package = root / "src" / "darse"
    classes: dict[str, list[str]] = {}
    sources = {path: path.read_text(encoding="utf-8") for path in written(package)}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    methods = method_names(trees.values())
    for path, tree in trees.items():
        place = str(path.relative_to(root))
        yield from check_name(path.parent.name if path.stem == "__init__" else path.stem, "module", place)
        yield from _names(tree, place)
        yield from _texts(tree, place)
        yield from _comments(sources[path], place)
        yield from _functions(tree, place)
        yield from _stores(tree, place)
        yield from _callbacks(tree, place, methods)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(f"{place}:{node.lineno}")
    for name, places in classes.items():
        for place in places[1:]:
            yield Violation("classes", name, place, f"also {places[0]}")
    for modules, folder in sizes_of_folders(root):
        if modules > MOST_MODULES:
            yield Violation("folders", folder, folder, f"{modules}")
    for circle in circles(imports(root)):
        yield Violation("circles", " ".join(circle), circle[0])
    for page in sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob(".github/**/*.md")]):
        yield from check_text(page.read_text(encoding="utf-8"), str(page.relative_to(root)), 1, is_page=True)


def written(package: Path) -> list[Path]:
    """The modules of a package that somebody has written: not those that setup/protocols.py generates."""
    return sorted(path for path in package.rglob("*.py") if not _is_generated(path))


def _is_generated(path: Path) -> bool:
    return path.stem.endswith(("_pb2", "_grpc"))


def longest_functions(root: Path) -> Iterator[tuple[int, str]]:
    """The lines and the name of every function."""
    for path in written(root / "src" / "darse"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield node.end_lineno - node.lineno + 1, f"{path.relative_to(root)}:{node.name}"


def sizes_of_folders(root: Path) -> Iterator[tuple[int, str]]:
    """How many modules are directly in each folder of the package, and the folder."""
    package = root / "src" / "darse"
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir())]:
        modules = [path for path in folder.glob("*.py") if path.stem != "__init__" and not _is_generated(path)]
        yield len(modules), str(folder.relative_to(root))


def imports(root: Path) -> dict[str, set[str]]:
    """Which of our modules each module imports while it is loaded: not in functions, nor for type checkers only."""
    names = {}
    for path in written(root / "src" / "darse"):
        parts = path.relative_to(root / "src").with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for name, path in names.items():
        found = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= inner & names.keys() or {node.module}
        graph[name] = found & names.keys() - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that reach each other, by name (Tarjan's strongly connected components)."""
    found: list[list[str]] = []
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        path.append(name)
        for other in sorted(graph[name]):
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            place = path.index(name)
            circle = sorted(path[place:])
            del path[place:]
            if len(circle) > 1:
                found.append(circle)

    for name in graph:
        if name not in numbers:
            visit(name)
    return sorted(found)


def words_of(name: str) -> str:
    """The words of an identifier or a flag, in small letters."""
    return " ".join(word.lower() for word in _WORD.findall(name))


def check_name(name: str, kind: str, place: str) -> Iterator[Violation]:
    """Refuse the banned words in a name."""
    words = f" {words_of(name)} "
    for banned, term in NAMES.items():
        if f" {banned} " in words:
            yield Violation("names", f"{kind} {name}", place, f"not {banned!r} but: {term}")


def check_text(text: str, place: str, line: int, *, is_page: bool) -> Iterator[Violation]:
    """Refuse the banned phrases in a text that begins in a line of a file."""
    for match in (_PAGE_PHRASE if is_page else _PHRASE).finditer(text):
        banned = " ".join(match[0].lower().split())
        around = " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
        number = line + text.count("\n", 0, match.start())
        plainly = (PHRASES | DOC_PHRASES)[banned]
        yield Violation("texts", f"{banned}: {around}", f"{place}:{number}", f"plainly: {plainly}")


def _pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    either = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)


_PHRASE, _PAGE_PHRASE = _pattern(PHRASES), _pattern(PHRASES | DOC_PHRASES)


def _names(tree: ast.Module, place: str) -> Iterator[Violation]:
    """The names that the module gives: not those of other libraries that it only reads."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name):
                kind = "class"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                kind = "function"
            case ast.arg(arg=name):
                kind = "parameter"
            case ast.Name(id=name, ctx=ast.Store()):
                kind = "variable"
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                kind = "variable"
            case ast.Attribute(attr=name, ctx=ast.Store()):
                kind = "attribute"
            case ast.alias(asname=str(name)):
                kind = "alias"
            case ast.Call(func=ast.Name(id=maker), args=[ast.Constant(value=str(name)), *_]):
                if maker not in _FLAG_MAKERS or name in FORMER_FLAGS:
                    continue
                kind = "flag"
            case _:
                continue
        yield from check_name(name, kind, f"{place}:{getattr(node, 'lineno', 1)}")


def _texts(tree: ast.Module, place: str) -> Iterator[Violation]:
    """The string constants: messages, help and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from check_text(node.value, place, node.lineno, is_page=False)


def _comments(source: str, place: str) -> Iterator[Violation]:
    """The comments; lines that follow each other are one text, since a phrase may begin in one and end in the next."""
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != first + len(block):
                yield from check_text("\n".join(block), place, first, is_page=False)
                block = []
            first = first if block else token.start[0]
            block.append(token.string.lstrip("#"))
    yield from check_text("\n".join(block), place, first, is_page=False)


def method_names(trees: Iterable[ast.Module]) -> set[str]:
    """The names that mean a method wherever they follow a dot: no class has a property or another attribute of them."""
    methods: set[str] = set()
    others: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                        is_read = any(ast.unparse(one).endswith("property") for one in child.decorator_list)
                        (others if is_read else methods).add(child.name)
                    else:
                        others.update(target.id for target in _targets(child) if isinstance(target, ast.Name))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                others.update(target.attr for target in _targets(node) if _is_own(target))
    return methods - others


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _is_own(target: ast.expr) -> TypeGuard[ast.Attribute]:
    """Whether this is an attribute of the object at hand."""
    return isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id in _OWN


def _stores(tree: ast.Module, place: str) -> Iterator[Violation]:
    # darse.testing builds rooms of parts, for tests.
    if place.startswith(("src/darse/images/", "src/darse/testing/")):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "stores":
            yield Violation("stores", ast.unparse(node), f"{place}:{node.lineno}", "call a method of ImageService")


def _callbacks(tree: ast.Module, place: str, methods: set[str]) -> Iterator[Violation]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        value = node.value
        is_method = isinstance(value, ast.Attribute) and value.attr in methods
        for target in _targets(node):
            # A module's `__getattr__` is one by its name (PEP 562).
            if not isinstance(target, ast.Attribute) or target.attr.startswith("__"):
                continue
            if isinstance(value, ast.Lambda) or (is_method and not _is_own(target)):
                yield Violation(
                    "callbacks", ast.unparse(target), f"{place}:{node.lineno}", "pass an object, or a method"
                )


def _functions(tree: ast.Module, place: str) -> Iterator[Violation]:
    def walk(node: ast.AST, prefix: str) -> Iterator[Violation]:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{prefix}{child.name}."
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                assert child.end_lineno is not None
                if (lines := child.end_lineno - child.lineno + 1) > LONGEST_FUNCTION:
                    yield Violation("functions", inner[:-1], f"{place}:{child.lineno}", f"{lines} lines")
            yield from walk(child, inner)

    yield from walk(tree, "")


if __name__ == "__main__":
    sys.exit(main())
