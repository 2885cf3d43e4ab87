"""`pull` and `push`: images from and to registries."""

from __future__ import annotations

import sys
from typing import Any

from darse.cli.command_line.flags import Command, platform_flag, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.engine.pull import pull as pull_image
from darse.cli.errors import ApiError, CliError
from darse.cli.images import platforms
from darse.cli.images.names import checked, in_docker_words
from darse.cli.output import progress
from darse.cli.settings import content_trust, credentials
from darse.client.requests import images
from darse.image_spec.references import Reference

_ONE_PLATFORM = (
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.\n"
    "Other components, like attestations, will not be included.\n"
    "To push the complete multi-platform image, remove the --platform flag.\n"
)
_NOT_ALL = "Not all multiplatform-content is present and only the available single-platform image was pushed\n{} -> {}"
_MISSING = (
    "The image is a list of several platforms, and some of them are neither here nor in the repository.\n"
    "Pull them first, or push one platform with --platform."
)


def _named(invocation: Invocation) -> Reference:
    """The image of the command line, with its default tag, which is printed."""
    options = invocation.options
    name = checked(invocation.arguments[0])
    if options.all_tags:
        if not name.is_bare:
            raise CliError("tag can't be used with --all-tags/-a")
        return name
    if name.is_bare and not options.quiet:
        sys.stdout.write("Using default tag: latest\n")
        sys.stdout.flush()
    return name.tagged()


def pull(invocation: Invocation) -> int:
    """Get an image by its name."""
    options = invocation.options
    content_trust.refuse(options, invocation.arguments[0])
    name = _named(invocation)
    pull_image(invocation.client, invocation.settings, name, platform=options.platform, quiet=options.quiet)
    sys.stdout.write(f"{name}\n")
    return 0


def push(invocation: Invocation) -> int:
    """Send an image to the registry of its name."""
    options = invocation.options
    platform: dict[str, str] | str = ""
    content_trust.refuse(options, invocation.arguments[0], pushes=True)
    if options.platform:
        platform = platforms.parse(options.platform)
        _note(_ONE_PLATFORM)
    name = _named(invocation)
    notes: list[str] = []
    auth = credentials.registry_auth(invocation.settings, name.domain)
    try:
        response = invocation.client.open(images.push(name.name, tag=name.tag, platform=platform, credentials=auth))
    except ApiError as error:
        raise in_docker_words(error) from error
    try:
        if options.quiet:
            for message in response.messages():
                progress.raise_error(message)
                notes += _notes(message.get("aux"))
            sys.stdout.write(f"{name}\n")
        else:
            progress.display(response.messages(), on_aux=lambda aux: notes.extend(_notes(aux)))
    finally:
        response.close()
        for note in notes:
            _note(note)
    return 0


def _notes(aux: Any) -> list[str]:
    """The engine's note about an image whose index or content it could not push."""
    if not isinstance(aux, dict):
        return []
    notes = []
    if aux.get("manifestPushedInsteadOfIndex"):
        notes.append(_NOT_ALL.format(aux["originalIndex"]["digest"], aux["selectedManifest"]["digest"]))
    if aux.get("contentMissing"):
        notes.append(_MISSING)
    return notes


def _note(text: str) -> None:
    head = " Info -> "
    first, *rest = text.split("\n")
    sys.stdout.write("\n".join(["", head + first, *(f"{'':<{len(head)}}{line}" for line in rest)]) + "\n")
    sys.stdout.flush()


COMMANDS = {
    "image pull": (
        Command(
            "image pull",
            "[OPTIONS] NAME[:TAG|@DIGEST]",
            "Download an image from a registry",
            (
                switch("all-tags", "Download all tagged images in the repository", "a"),
                content_trust.FLAG,
                platform_flag(),
                switch("quiet", "Suppress verbose output", "q"),
            ),
            1,
            1,
            examples="darse pull debian:12\ndarse pull --platform linux/arm64 registry.example.com/team/app",
        ),
        pull,
    ),
    "image push": (
        Command(
            "image push",
            "[OPTIONS] NAME[:TAG]",
            "Upload an image to a registry",
            (
                switch("all-tags", "Push all tags of an image to the repository", "a"),
                content_trust.FLAG,
                string(
                    "platform",
                    "Push a platform-specific manifest as a single-platform image to the registry.\n"
                    "Image index won't be pushed, meaning that other manifests, including attestations won't be "
                    "preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
                ),
                switch("quiet", "Suppress verbose output", "q"),
            ),
            1,
            1,
            examples="darse tag app registry.example.com/team/app:1\ndarse push registry.example.com/team/app:1",
        ),
        push,
    ),
}
