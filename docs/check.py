"""`make docs`: every relative link of the documentation leads somewhere, headings included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
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
    broken = [problem for name in listed for problem in check(ROOT / name)]
    for problem in broken:
        print(problem)
    print(f"{len(listed)} pages checked, {len(broken)} broken links")
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


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings give, as forges make them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


if __name__ == "__main__":
    sys.exit(main())
