"""Finish the Python packages inside: their licences into debian/copyright, and nothing that names the building machine.

vendored.py SITE-PACKAGES COPYRIGHT.IN COPYRIGHT
"""

from __future__ import annotations

import email
import sys
from pathlib import Path

# What pip notes about the installation.
NOTES = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json")
# What is not run; tests and sources in C, mostly.
NOT_RUN = (".c", ".h", ".pxd", ".pyx", ".hash", ".pyi")


def main() -> None:
    """Write the copyright file, and remove what is not needed."""
    packages, template, target = map(Path, sys.argv[1:])
    stanzas = []
    for metadata in sorted(packages.glob("*.dist-info/METADATA")):
        about = email.message_from_string(metadata.read_text(encoding="utf-8"))
        if about["Name"] != "darse":
            stanzas.append(stanza(metadata.parent, about))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n\n".join([template.read_text(encoding="utf-8").strip(), *stanzas]) + "\n", encoding="utf-8")
    for path in sorted(packages.rglob("*")):
        if (path.name in NOTES and path.parent.suffix == ".dist-info") or is_not_run(path):
            path.unlink()
        elif path.is_file():
            path.chmod(0o644)
    for path in (packages / "bin", packages / "tests"):
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()


def is_not_run(path: Path) -> bool:
    """Whether a file is source text of a part that is compiled, or types for a checker."""
    return path.is_file() and path.suffix in NOT_RUN


def stanza(directory: Path, about: email.message.Message) -> str:
    """What debian/copyright says of a package: its licence's name, and the licence itself."""
    name, version = about["Name"], about["Version"]
    short = (about["License-Expression"] or (about["License"] or "").partition("\n")[0] or f"{name}-licence").strip()
    identifier = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in short).strip("-")
    texts = [path for path in sorted(directory.rglob("*")) if path.is_file() and is_licence(path.name)]
    lines = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in texts).splitlines()
    holders = sorted({line.strip() for line in lines if line.strip().lower().startswith("copyright (c)")})
    holder = "\n           ".join(holders) or f"the authors of {name}"
    text = "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in lines) or f" {short}"
    if "apache" in short.lower():
        text = " On Debian systems the text is in /usr/share/common-licenses/Apache-2.0."
    return (
        f"Files: usr/lib/darse/lib/*/site-packages/{name.replace('-', '_')}*\n"
        f"Comment: {name} {version}, from https://pypi.org/project/{name}/{version}/\n"
        f"Copyright: {holder}\n"
        f"License: {identifier}-of-{name}\n{text}"
    )


def is_licence(name: str) -> bool:
    """Whether a file of a package's metadata is its licence."""
    return name.upper().startswith(("LICEN", "COPYING", "NOTICE"))


if __name__ == "__main__":
    main()
