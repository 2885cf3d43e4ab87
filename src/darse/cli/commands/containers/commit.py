"""`commit`: an image of what a container has changed."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, listing, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.images.names import checked
from darse.client.http import require_name
from darse.client.requests import images


def commit(invocation: Invocation) -> int:
    """Make the image, and print its id."""
    options = invocation.options
    container, *rest = invocation.arguments
    require_name(container, "container")
    name = rest[0] if rest else ""
    if name:
        checked(name)
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag or "@" in name:
        repository, tag = name, ""
    request = images.commit(
        container,
        repository=repository,
        tag=tag,
        comment=options.message,
        author=options.author,
        changes=options.change,
        pause=options.pause,
    )
    sys.stdout.write(invocation.client.do(request)["Id"] + "\n")
    return 0


COMMANDS = {
    "container commit": (
        Command(
            "container commit",
            "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
            "Create a new image from a container's changes",
            (
                string("author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', "a"),
                listing("change", "Apply Dockerfile instruction to the created image", "c"),
                string("message", "Commit message", "m"),
                switch("pause", "Pause container during commit", "p", default=True),
            ),
            1,
            2,
        ),
        commit,
    ),
}
