"""`make catalog`: build the images of the catalogue, see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import time

from tests.catalog.build import BuildError
from tests.catalog.catalogue import IMAGES, SMALL, Catalogue


def main() -> int:
    """Build what the command line names; 1 when a build fails."""
    names = [image.name for image in IMAGES]
    parser = argparse.ArgumentParser(prog="python -m tests.catalog", description="Build images for tests.")
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help=f"of: {' '.join(names)}; unless told, the small ones"
    )
    parser.add_argument("--all", action="store_true", help="all of them")
    options = parser.parse_args()
    if unknown := set(options.images) - set(names):
        parser.error(f"no such image: {' '.join(sorted(unknown))}")
    catalogue = Catalogue(tell=lambda line: print(line, flush=True))
    wanted = names if options.all else options.images or list(SMALL)
    began = time.monotonic()
    try:
        catalogue.provide(*wanted)
    except BuildError as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 1
    print(f"{len(wanted)} images in {catalogue.cache}, {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
