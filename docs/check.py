"""`make docs`: what the documentation refers to is there: links, their headings, and modules of the sources.

The glossary's terms are in order, each once.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "bench", "setup", "docs", "lint", "examples")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
# `networks/store.py`, `darse.networks.store`; a code span of the glossary's last column may be a folder.
_FILE = re.compile(r"(?<![\w/.*-])((?:\w+/)*\w+\.py)\b")
# A label, as `darse.snapshot.of=VOLUME`, is none.
_MODULE = re.compile(r"`darse((?:\.[a-z_]+)+)(?![=\w.])")
# `Removal.remove_container`: a class of the sources, and what it has.
_MEMBER = re.compile(r"`([A-Z]\w+)\.(_?[a-z]\w*)(?:\(\))?`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Print each broken link; the exit status tells whether there are any."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    pages = [ROOT / name for name in listed]
    broken = [problem for page in pages for problem in [*check(page), *missing_modules(page)]]
    broken += missing_members(pages)
    broken += check_glossary(ROOT / "docs" / "glossary.md")
    for problem in broken:
        print(problem)
    print(f"{len(listed)} pages checked, {len(broken)} problems")
    return 1 if broken else 0


def check(page: Path) -> list[str]:
    """The broken links of a page."""
    problems = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            problems.append(f"{page.relative_to(ROOT)}: {target}: no such file")
        elif heading and file.suffix == ".md" and heading not in anchors(file):
            problems.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
    return problems


def missing_modules(page: Path) -> list[str]:
    """The modules that a page names and the sources do not have; the changelog names what there was."""
    if page.name == "CHANGELOG.md":
        return []
    text = page.read_text(encoding="utf-8")
    files = [f"/{path.relative_to(ROOT)}" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    problems = [name for name in _FILE.findall(text) if not any(file.endswith(f"/{name}") for file in files)]
    for dotted in _MODULE.findall(text):
        path = ROOT / "src" / "darse" / dotted[1:].replace(".", "/")
        # It may be a name in a module.
        if not (path.is_dir() or path.with_suffix(".py").exists() or path.parent.with_suffix(".py").exists()):
            problems.append(f"darse{dotted}")
    return [f"{page.relative_to(ROOT)}: {name}: no such module" for name in problems]


def missing_members(pages: list[Path]) -> list[str]:
    """The methods and fields that pages name of our classes, and that these do not have."""
    members: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(ast.unparse(base) for base in node.bases)
                members.setdefault(node.name, set()).update(_members_of(node))
    problems = []
    for page in pages:
        for owner, member in _MEMBER.findall(page.read_text(encoding="utf-8")):
            if owner not in members or page.name == "CHANGELOG.md":
                continue
            family = {owner}
            while more := {base for one in family for base in bases.get(one, ())} - family:
                family |= more
            if not any(member in members.get(one, ()) for one in family):
                problems.append(f"{page.relative_to(ROOT)}: {owner}.{member}: no such member")
    return problems


def _members_of(node: ast.ClassDef) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name
        elif isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def check_glossary(page: Path) -> list[str]:
    """Terms that are out of order or there twice, and places that are not there."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ][2:]
    terms = [row[0].strip("`").lower() for row in rows]
    problems = [f"{term}: comes after {before}" for before, term in pairwise(terms) if term <= before]
    # `OOMKilled`, `Lifecycle.recover`: names in the sources, which `missing_members` looks up.
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row[-1])]
    places = [span for span in spans if not re.match(r"[A-Z]", span)]
    roots = (ROOT / "src" / "darse", ROOT)
    problems += [f"{place}: no such place" for place in places if not any((root / place).exists() for root in roots)]
    return [f"{page.relative_to(ROOT)}: {problem}" for problem in problems]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings give, as forges make them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


if __name__ == "__main__":
    sys.exit(main())
