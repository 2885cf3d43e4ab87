"""`build`: an image of a Dockerfile."""

from __future__ import annotations

import contextlib
import json
import sys

from darse.cli.building import build_progress, context, options
from darse.cli.building.build_flags import FLAGS
from darse.cli.building.caches import LocalCaches
from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.settings import credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_LAYOUT = "oci-layout://"
_STATUS = "application/vnd.darse.build.status.v1+json"


def build(invocation: Invocation) -> int:
    """Build what a command line says, and show the progress in the form that it names."""
    given = invocation.options
    return build_image(invocation, build_progress.display_of("quiet" if given.quiet else given.progress))


def build_image(invocation: Invocation, display: build_progress.BuildDisplay) -> int:
    """Send the context, show the progress on a display, and write what was asked for. Raises CliError."""
    given = invocation.options
    found = context.find(invocation.arguments[0], given.file)
    query = options.parameters(given, invocation.settings)
    query |= {"dockerfile": found.dockerfile or None, "remote": found.remote or None}
    if query["call"]:
        from darse.cli.building import facts

        return facts.show(_run(invocation, query, found.pieces, build_progress.display_of("quiet")))
    output = options.output_of(given.output)
    if names := output.get("name"):
        query["t"] = [*(query["t"] or []), *names.split(",")]
    query["outputs"] = options.output_query(output)
    result = _run(invocation, query, found.pieces, display)
    if output:
        from darse.cli.building import outputs

        outputs.write(invocation.client, result, output, platforms=len(options.platforms_of(given)))
    if given.iidfile:
        _write(given.iidfile, result["ID"])
    if given.metadata_file:
        _write(given.metadata_file, json.dumps(_metadata(result), indent=2) + "\n")
    if given.quiet:
        sys.stdout.write(f"{result['ID']}\n")
    if given.push or output.get("push") == "true":
        _push(invocation, result)
    return 0


def _run(
    invocation: Invocation,
    query: dict[str, Any],
    pieces: Iterator[bytes] | None,
    display: build_progress.BuildDisplay,
) -> dict[str, Any]:
    known = credentials.all_of(invocation.settings)
    headers = {"Content-Type": "application/x-tar", "Accept": _STATUS}
    if known:
        headers["X-Registry-Config"] = credentials.encode(known)
    body = pieces if pieces is not None else iter(())
    named = options.named_contexts(invocation.options.build_context)
    secrets = options.secrets(invocation.options.secret)
    with contextlib.ExitStack() as stack:
        forwarded = None
        if invocation.options.ssh:
            from darse.cli.building.agents import Agents

            forwarded = stack.enter_context(Agents(invocation.options.ssh))
        caches = LocalCaches(invocation.options.cache_from, invocation.options.cache_to)
        query["cachefrom"] = json.dumps(caches.cache_from) if caches.cache_from else None
        query["cacheto"] = json.dumps(caches.cache_to) if caches.cache_to else None
        kept = caches.archives()
        if named or secrets or kept or forwarded is not None:
            from darse.cli.building import image_layout, parts

            directories = {name: value for name, value in named.items() if not context.is_reference(value)}
            layouts = {name: value for name, value in named.items() if value.startswith(_LAYOUT)}
            found = {name: image_layout.ImageLayout(value) for name, value in layouts.items()}
            query["contexts"] = json.dumps(
                {
                    **named,
                    **{name: f"local:{name}" for name in directories},
                    **{name: f"{_LAYOUT}{name}@{layout.digest}" for name, layout in found.items()},
                }
            )
            archives = {name: context.directory_archive(value) for name, value in directories.items()}
            archives |= {name: layout.archive() for name, layout in found.items()}
            sent = {**({"context": body} if pieces is not None else {}), **archives, **kept}
            body = parts.encode(sent, secrets, forwarded.names if forwarded is not None else ())
            headers["Content-Type"] = parts.MEDIA_TYPE
        response = invocation.client.stream("POST", "/build", query, raw_body=body, headers=headers)
        stack.callback(response.close)
        documents = response.messages()
        if forwarded is not None:
            documents = forwarded.served(invocation.client, documents)
        result = build_progress.follow(documents, display)
        caches.fetch(invocation.client, result.get("Caches") or [])
        return result


def _push(invocation: Invocation, result: Mapping[str, Any]) -> None:
    """Push every name that the image has got. Raises CliError."""
    from darse.cli.output import progress
    from darse.client.http import quote
    from darse.image_spec.references import parse_name

    names = result.get("Names") or []
    if not names:
        raise CliError("tag is needed when pushing to registry")
    for name in map(parse_name, names):
        response = invocation.client.stream(
            "POST",
            f"/images/{quote(name.name, safe='/:')}/push",
            {"tag": name.tag or None},
            headers=credentials.header(invocation.settings, name.domain),
        )
        progress.display(response.messages(), sys.stderr)
        response.close()


def _metadata(result: Mapping[str, Any]) -> dict[str, Any]:
    descriptor = result["Descriptor"]
    found: dict[str, Any] = {"containerimage.descriptor": descriptor, "containerimage.digest": descriptor["digest"]}
    if result["ID"] != descriptor["digest"]:
        found["containerimage.config.digest"] = result["ID"]
    if names := result.get("Names"):
        found["image.name"] = ",".join(names)
    return found


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}") from error


_BUILD = Command(
    "image build",
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    FLAGS,
    1,
    1,
    examples=(
        "darse build -t app .\ndarse build -f docker/Dockerfile --target test --build-arg VERSION=2 .\n"
        "darse build --secret id=token,env=TOKEN -t app .\ndarse build - < Dockerfile"
    ),
)

COMMANDS = {
    "image build": (_BUILD, build),
    "builder build": (_BUILD.typed_as("builder build"), build),
}
