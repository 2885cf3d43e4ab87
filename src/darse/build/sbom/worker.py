"""Scans a tree in a process that sees nothing else: anybody may have written it.

    python -I -S -c '…' EMPTY NAME CREATED

Descriptors: 1 takes the answer, 3 is the tree's root. EMPTY is an empty directory, which becomes the root of this
process. The answer is a kind, a NUL and a text: `document`, or `fault`.

It gives up all but reading before it opens the first file, as `darse.build.files.worker` does.
"""

from __future__ import annotations

import os
import sys

from darse.build.sbom.answers import DOCUMENT, FAULT, ROOT
from darse.build.sbom.scan import scan
from darse.build.sbom.spdx import document
from darse.linux.proc import sandbox

_MEMORY = 2 << 30
_FILES = 256


def main() -> None:
    """Scan the tree that is on descriptor 3."""
    empty, name, created = sys.argv[1:4]
    sandbox.enter(empty, (sandbox.CAP_DAC_READ_SEARCH,), memory=_MEMORY, open_files=_FILES, writable=False)
    try:
        answer = DOCUMENT + b"\0" + document(scan(ROOT), name, int(created))
    except OSError as error:
        answer = FAULT + b"\0" + f"{os.strerror(error.errno or 0).lower()}".encode()
    except Exception as error:  # the interpreter would look for the source in order to show it
        answer = FAULT + b"\0" + f"{type(error).__name__}: {error}".encode(errors="replace")[:4096]
    while answer:
        answer = answer[os.write(1, answer) :]
    os._exit(0)
