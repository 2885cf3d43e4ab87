"""`build`: an image of a Dockerfile."""

from __future__ import annotations

import contextlib
import json
import sys

from darse.cli.building import build_progress, context, options
from darse.cli.building.build_flags import FLAGS
from darse.cli.building.caches import LocalCaches
from darse.cli.building.context_tree import node_id
from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.settings import credentials
from darse.client.requests import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from darse.cli.building.context import BuildContext
    from darse.cli.building.context_tree import ContextTree

_LAYOUT = "oci-layout://"
_STATUS = "application/vnd.darse.build.status.v1+json"


def build(invocation: Invocation) -> int:
    """Build what a command line says, and show the progress in the form that it names."""
    given = invocation.options
    return build_image(invocation, build_progress.display_of("quiet" if given.quiet else given.progress))


def build_image(invocation: Invocation, display: build_progress.BuildDisplay) -> int:
    """Send the context, show the progress on a display, and write what was asked for. Raises CliError."""
    given = invocation.options
    found = context.find(invocation.arguments[0], given.file, node_id(invocation.settings))
    query = options.parameters(given, invocation.settings)
    query |= {"dockerfile": found.dockerfile or None, "remote": found.remote or None}
    if query["call"]:
        from darse.cli.building import facts

        return facts.show(_run(invocation, query, found, build_progress.display_of("quiet")))
    output = options.output_of(given.output)
    if names := output.get("name"):
        query["t"] = [*(query["t"] or []), *names.split(",")]
    query["outputs"] = options.output_query(output)
    result = _run(invocation, query, found, display)
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
    invocation: Invocation, query: dict[str, Any], found: BuildContext, display: build_progress.BuildDisplay
) -> dict[str, Any]:
    known = credentials.all_of(invocation.settings)
    headers = {"Content-Type": "application/x-tar", "Accept": _STATUS}
    if known:
        headers["X-Registry-Config"] = credentials.encode(known)
    with contextlib.ExitStack() as stack:
        forwarded = None
        if invocation.options.ssh:
            from darse.cli.building.agents import Agents

            forwarded = stack.enter_context(Agents(invocation.options.ssh))
        caches = LocalCaches(invocation.options.cache_from, invocation.options.cache_to)
        query["cachefrom"] = json.dumps(caches.cache_from) if caches.cache_from else None
        query["cacheto"] = json.dumps(caches.cache_to) if caches.cache_to else None
        named, archives = _named_contexts(invocation, query)
        trees = {**({"context": found.tree} if found.tree is not None else {}), **named}
        in_part = {name: tree for name, tree in trees.items() if tree.listed()}
        content = found.content if "context" in in_part else None
        sent = {"context": found.pieces} if found.pieces is not None and "context" not in in_part else {}
        sent |= {name: tree.archive() for name, tree in named.items() if name not in in_part}
        sent |= archives | caches.archives()
        secrets = options.secrets(invocation.options.secret)
        body = sent.get("context", iter(()))
        if in_part or secrets or sent.keys() - {"context"} or forwarded is not None:
            from darse.cli.building import parts

            agents = forwarded.names if forwarded is not None else ()
            # What is asked about a Dockerfile needs no context.
            asked = in_part if not query["call"] else {}
            claims = {name: tree.claim() for name, tree in asked.items()}
            body = parts.encode(sent, secrets, agents, claims, content)
            headers["Content-Type"] = parts.MEDIA_TYPE
        response = invocation.client.open(builds.build(query, body, headers))
        stack.callback(response.close)
        documents = _answered(invocation, in_part, response.messages())
        if forwarded is not None:
            documents = forwarded.served(invocation.client, documents)
        result = build_progress.follow(documents, display)
        caches.fetch(invocation.client, result.get("Caches") or [])
        return result


def _named_contexts(
    invocation: Invocation, query: dict[str, Any]
) -> tuple[dict[str, ContextTree], dict[str, Iterator[bytes]]]:
    """The directories of named contexts, and the archives of those that are images; the query says what they are."""
    named = options.named_contexts(invocation.options.build_context)
    if not named:
        return {}, {}
    from darse.cli.building import image_layout

    node = node_id(invocation.settings)
    directories = {name: value for name, value in named.items() if not context.is_reference(value)}
    layouts = {name: image_layout.ImageLayout(value) for name, value in named.items() if value.startswith(_LAYOUT)}
    query["contexts"] = json.dumps(
        {
            **named,
            **{name: f"local:{name}" for name in directories},
            **{name: f"{_LAYOUT}{name}@{layout.digest}" for name, layout in layouts.items()},
        }
    )
    trees = {name: context.named_tree(value, node) for name, value in directories.items()}
    return trees, {name: layout.archive() for name, layout in layouts.items()}


def _answered(
    invocation: Invocation, trees: Mapping[str, ContextTree], documents: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the documents of a build, but for those that ask for what has changed of a context: it is sent."""
    for document in documents:
        asked = document.get("context")
        if asked is None:
            yield document
        elif asked["name"] in trees:
            trees[asked["name"]].send(invocation.client, asked["connection"])


def _push(invocation: Invocation, result: Mapping[str, Any]) -> None:
    """Push every name that the image has got. Raises CliError."""
    from darse.cli.output import progress
    from darse.client.requests import images
    from darse.image_spec.references import parse_name

    names = result.get("Names") or []
    if not names:
        raise CliError("tag is needed when pushing to registry")
    for name in map(parse_name, names):
        auth = credentials.registry_auth(invocation.settings, name.domain)
        response = invocation.client.open(images.push(name.name, tag=name.tag, credentials=auth))
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
