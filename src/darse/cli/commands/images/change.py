"""`tag`, `rmi` and `image prune`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, listing, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.command_line.key_values import comma_separated
from darse.cli.commands import pruning
from darse.cli.errors import ApiError, CliError
from darse.cli.images import platforms
from darse.cli.images.names import check_any, checked
from darse.client.requests import images
from darse.image_spec.references import split, split_tag


def tag(invocation: Invocation) -> int:
    """Give an image another name."""
    source, target = invocation.arguments
    for text, check in ((source, check_any), (target, checked)):
        try:
            check(text)
        except CliError as error:
            raise CliError(f'Error parsing reference: "{text}" is not a valid repository/tag: {error}') from error
    if split(target).digest:
        raise CliError("refusing to create a tag with a digest reference")
    repository, name = split_tag(target)
    invocation.client.do(images.tag(source, repository, name))
    return 0


def remove(invocation: Invocation) -> int:
    """Remove images; with --force missing ones are no failure."""
    options = invocation.options
    named = [platforms.parse(one) for one in comma_separated(options.platform)]
    errors: list[str] = []
    fatal = False
    for name in invocation.arguments:
        try:
            removed = invocation.client.do(
                images.remove(name, force=options.force, no_prune=options.no_prune, platforms=named)
            )
        except ApiError as error:
            fatal = fatal or error.http_status != 404
            errors.append(str(error))
            continue
        for item in removed:
            deleted = item.get("Deleted")
            sys.stdout.write(f"Deleted: {deleted}\n" if deleted else f"Untagged: {item['Untagged']}\n")
    if errors and (fatal or not options.force):
        raise CliError("\n".join(errors))
    if errors:
        sys.stderr.write("\n".join(errors) + "\n")
    return 0


def _dangling(invocation: Invocation, filters: dict[str, list[str]]) -> None:
    filters["dangling"] = ["false" if invocation.options.all else "true"]


COMMANDS = {
    "image tag": (
        Command(
            "image tag",
            "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
            "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
            (),
            2,
            2,
        ),
        tag,
    ),
    "image rm": (
        Command(
            "image rm",
            "[OPTIONS] IMAGE [IMAGE...]",
            "Remove one or more images",
            (
                switch("force", "Force removal of the image", "f"),
                switch("no-prune", "Do not delete untagged parents"),
                listing("platform", f"Remove only the given platform variant. {platforms.FORM}", value="strings"),
            ),
            1,
            None,
        ),
        remove,
    ),
    "image prune": (
        Command(
            "image prune",
            "[OPTIONS]",
            "Remove unused images",
            (
                switch("all", "Remove all unused images, not just dangling ones", "a"),
                listing("filter", 'Provide filter values (e.g. "until=<timestamp>")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
            ),
        ),
        pruning.command(pruning.IMAGES, _dangling),
    ),
}
