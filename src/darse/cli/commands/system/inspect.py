"""`inspect`: any object by its name or id."""

from __future__ import annotations

import sys
from collections.abc import Callable

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError
from darse.cli.images import platforms
from darse.cli.output.format import INSPECT_FORMAT_HELP
from darse.cli.output.inspect import Found
from darse.cli.output.inspect import inspect as print_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from darse.client.requests import ApiRequest

# Kind and Go type, in the order in which a name is looked for.
_KINDS = {
    "container": "container.InspectResponse",
    "image": "image.InspectResponse",
    "network": "network.Inspect",
    "volume": "volume.Volume",
}
_CLUSTER_KINDS = ("config", "node", "plugin", "secret", "service", "task")


def getter(
    invocation: Invocation, kind: str, *, size: bool = False, platform: dict[str, str] | None = None
) -> Callable[[str], Found]:
    """What finds objects of one kind."""

    def get(reference: str) -> Found:
        if not reference.strip():
            raise CliError(f"invalid {kind} name or ID: value is empty")
        return Found(invocation.client.do(_request(kind, reference, size=size, platform=platform)), _KINDS[kind])

    return get


def _request(
    kind: str, reference: str, *, size: bool, platform: dict[str, str] | None
) -> ApiRequest[Any, Mapping[str, Any]]:
    match kind:
        case "container":
            from darse.client.requests import containers

            return containers.inspect(reference, size=size)
        case "image":
            from darse.client.requests import images

            return images.inspect(reference, platform=platform)
        case "network":
            from darse.client.requests import networks

            return networks.inspect(reference)
        case _:
            from darse.client.requests import volumes

            return volumes.inspect(reference)


def inspect(invocation: Invocation) -> int:
    """Print objects of any kind, or of the one that `--type` names."""
    options = invocation.options
    kind = options.type
    known = sorted([*_KINDS, *_CLUSTER_KINDS])
    known_types = '", "'.join(known)
    if "type" in options.given and not kind:
        raise CliError(f'type is empty: must be one of "{known_types}"')
    if kind and kind not in known:
        raise CliError(f'unknown type: "{kind}": must be one of "{known_types}"')
    if kind in _CLUSTER_KINDS:
        raise CliError(f"this version of darse has no objects of type {kind}")
    kinds = [kind] if kind else list(_KINDS)

    def get(reference: str) -> Found:
        for one in kinds:
            try:
                found = getter(invocation, one, size=options.size)(reference)
            except ApiError as error:
                if kind or not _is_skippable(error):
                    raise
                continue
            if options.size and one != "container":
                sys.stderr.write(f"WARNING: --size ignored for {one}\n")
            return found
        raise CliError(f"Error: No such object: {reference}")

    return print_objects(invocation.arguments, options.format, get)


def _is_skippable(error: ApiError) -> bool:
    """Whether another kind may have an object of this name."""
    return error.http_status == 404 or "not supported" in error.reason or "invalid reference format" in error.reason


def inspect_containers(invocation: Invocation) -> int:
    """Print containers."""
    options = invocation.options
    return print_objects(invocation.arguments, options.format, getter(invocation, "container", size=options.size))


def inspect_images(invocation: Invocation) -> int:
    """Print images."""
    options = invocation.options
    platform = platforms.parse(options.platform) if options.platform else None
    return print_objects(invocation.arguments, options.format, getter(invocation, "image", platform=platform))


def inspect_networks(invocation: Invocation) -> int:
    """Print networks."""
    return print_objects(invocation.arguments, invocation.options.format, getter(invocation, "network"))


def inspect_volumes(invocation: Invocation) -> int:
    """Print volumes."""
    return print_objects(invocation.arguments, invocation.options.format, getter(invocation, "volume"))


_FORMAT = string("format", INSPECT_FORMAT_HELP, "f")
COMMANDS = {
    "inspect": (
        Command(
            "inspect",
            "[OPTIONS] NAME|ID [NAME|ID...]",
            "Return low-level information on objects",
            (
                _FORMAT,
                switch("size", "Display total file sizes if the type is container", "s"),
                string("type", "Only inspect objects of the given type"),
            ),
            1,
            None,
        ),
        inspect,
    ),
    "container inspect": (
        Command(
            "container inspect",
            "[OPTIONS] CONTAINER [CONTAINER...]",
            "Display detailed information on one or more containers",
            (_FORMAT, switch("size", "Display total file sizes", "s")),
            1,
            None,
        ),
        inspect_containers,
    ),
    "image inspect": (
        Command(
            "image inspect",
            "[OPTIONS] IMAGE [IMAGE...]",
            "Display detailed information on one or more images",
            (
                _FORMAT,
                string(
                    "platform",
                    "Inspect a specific platform of the multi-platform image.\n"
                    "If the image or the server is not multi-platform capable, the command will error out if the "
                    "platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
                ),
            ),
            1,
            None,
        ),
        inspect_images,
    ),
    "network inspect": (
        Command(
            "network inspect",
            "[OPTIONS] NETWORK [NETWORK...]",
            "Display detailed information on one or more networks",
            (_FORMAT, switch("verbose", "Verbose output for diagnostics", "v")),
            1,
            None,
        ),
        inspect_networks,
    ),
    "volume inspect": (
        Command(
            "volume inspect",
            "[OPTIONS] VOLUME [VOLUME...]",
            "Display detailed information on one or more volumes",
            (_FORMAT,),
            1,
            None,
        ),
        inspect_volumes,
    ),
}
