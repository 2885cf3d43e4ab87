#!/usr/bin/env python3
"""Say what of darse is left outside of the clone, for `make clean`: data that is not the clone's to remove."""

from __future__ import annotations

import os
from pathlib import Path


def places() -> list[tuple[Path, str]]:
    """What may be there, and what it is."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    catalog = os.environ.get("DARSE_CATALOG_CACHE") or cache / "darse-catalog"
    clients = os.environ.get("DARSE_CLIENTS_CACHE") or Path.home() / ".cache" / "darse-clients"
    pythons = os.environ.get("DARSE_PYTHONS_CACHE") or Path.home() / ".cache" / "darse-pythons"
    return [
        (Path("/var/lib/darse"), "the engine's images, containers and volumes"),
        (Path("/run/darse"), "its socket and running state"),
        (Path("/etc/darse"), "its configuration"),
        (Path(catalog), "images for the tests"),
        (Path(clients), "clients for the tests"),
        (Path(pythons), "environments for the tests"),
    ]


def main() -> None:
    """Name what is there; nothing is removed."""
    left = [(path, what) for path, what in places() if path.exists()]
    if left:
        print("Outside of this directory stay (docs/installation.md says how to remove them):")
    for path, what in left:
        print(f"  {path}  {what}")


if __name__ == "__main__":
    main()
