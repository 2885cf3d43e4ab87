"""`images`: the list of images."""

from __future__ import annotations

import sys

from darse.cli.command_line import index
from darse.cli.command_line.flags import Command, listing, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.format import FORMAT_HELP, write
from darse.cli.output.image_rows import HEADINGS, default_format, rows
from darse.client.requests import images


def list_images(invocation: Invocation) -> int:
    """Print the images."""
    options = invocation.options
    filters = parse_filters(options.filter) or {}
    requested = invocation.arguments[0] if invocation.arguments else ""
    if requested:
        filters.setdefault("reference", []).append(requested)
    if options.tree:
        return _tree(invocation, filters)
    source = options.format
    if not source and not options.quiet:
        source = invocation.settings.member("imagesFormat", str)
    found = invocation.client.do(images.list_images(all=options.all, filters=filters or None))
    shows_digest = options.digests or "{{.Digest}}" in source
    all_rows = [
        row
        for image in found
        for row in rows(image, truncate=not options.no_trunc, digests=options.digests, shows_digest=shows_digest)
    ]
    is_default = source in ("", "table") and not options.no_trunc
    write(default_format(source, quiet=options.quiet, digest=options.digests), all_rows, HEADINGS, may_fit=is_default)
    if requested and not found and invocation.path == "images" and f"image {requested}" in index.COMMANDS:
        sys.stderr.write(f'\nNo images found matching "{requested}": did you mean "darse image {requested}"?\n')
    return 0


def _tree(invocation: Invocation, filters: dict[str, list[str]]) -> int:
    options = invocation.options
    for given, name in (
        (options.quiet, "quiet"),
        (options.no_trunc, "no-trunc"),
        (options.digests, "show-digest"),
        (options.format, "format"),
    ):
        if given:
            raise CliError(f"--{name} is not yet supported with --tree")
    from darse.cli.output.image_tree import print_tree

    found = invocation.client.do(images.list_images(all=options.all, manifests=True, filters=filters or None))
    print_tree(found, untagged=options.all or "dangling" in filters)
    return 0


COMMANDS = {
    "image ls": (
        Command(
            "image ls",
            "[OPTIONS] [REPOSITORY[:TAG]]",
            "List images",
            (
                switch("all", "Show all images (default hides intermediate images)", "a"),
                switch("digests", "Show digests"),
                listing("filter", "Filter output based on conditions provided", "f", "filter"),
                string("format", FORMAT_HELP),
                switch("no-trunc", "Don't truncate output"),
                switch("quiet", "Only show image IDs", "q"),
                switch("tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
            ),
            0,
            1,
        ),
        list_images,
    )
}
