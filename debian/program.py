"""Write the package's two programs into the directory of the command line: they start without site (python(1), -S)."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """#!/usr/lib/darse/bin/python -{options}
import sys

sys.path += ["/usr/lib/darse/lib/{tag}/site-packages"]
from {module} import main

main()
"""


def main() -> None:
    """Write them."""
    directory, tag = Path(sys.argv[1]), sys.argv[2]
    for name, module in (("darse", "darse.cli.entry"), ("darsed", "darse.daemon")):
        path = directory / name
        path.write_text(PROGRAM.format(options="IS", tag=tag, module=module), encoding="utf-8")
        path.chmod(0o755)


if __name__ == "__main__":
    main()
