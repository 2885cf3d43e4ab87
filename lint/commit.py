"""The subject of a commit: `area: what changes`, in at most 100 characters; see CONTRIBUTING.

    lint/commit.py FILE     the message in a file, as git's hook commit-msg gives it
    lint/commit.py          the last commit, where this is a clone

Merges, reverts and commits that are to be squashed have the subjects that git gives them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 100
# A folder or a concept in small letters, or several: `images`, `cli, compose`, `build/cache`.
_AREA = re.compile(r"[.a-z0-9][-\w./, ]{0,39}: \S")
_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")


def problem(message: str) -> str | None:
    """What is wrong with a message; None when nothing is."""
    subject = next((line for line in message.splitlines() if line.strip() and not line.startswith("#")), "")
    if subject.startswith(_GIT):
        return None
    if len(subject) > LONGEST:
        return f"the subject has {len(subject)} characters, and may have {LONGEST}: say why in the body: {subject}"
    if _AREA.match(subject) is None:
        return f"the subject must be `area: what changes`, where the area is a folder in small letters: {subject}"
    return None


def main() -> int:
    """Print what is wrong; the exit status is 1 then."""
    if len(sys.argv) > 1:
        message = Path(sys.argv[1]).read_text(encoding="utf-8")
    elif (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "log", "-1", "--format=%B"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"the last commit is not looked at: {done.stderr.strip()}")
            return 0
        message = done.stdout
    else:
        return 0
    found = problem(message)
    if found is not None:
        print(found)
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
