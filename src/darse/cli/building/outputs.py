"""`--output`: what becomes of an image beside its place in the engine: a folder, an archive of its files, or of itself.

The files are those of a container of the image that is made for this and never started, and with them what is attested
of the image: `sbom.spdx.json`, `provenance.json`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys

from darse.cli.errors import CliError
from darse.cli.output.files import write_whole
from darse.client.requests import archives, containers, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from darse.client.blocking import Client

_PROVENANCE = "https://slsa.dev/provenance/"
FILES = frozenset({"local", "tar"})
"""Outputs that are the image's files: the image itself is not wanted."""


def write(client: Client, result: Mapping[str, Any], output: Mapping[str, str], *, platforms: int) -> None:
    """Write the output of what was built, for so many platforms. Raises CliError."""
    kind, destination = output.get("type", ""), output.get("dest", "")
    if kind in FILES:
        if platforms > 1:
            raise CliError(f"the output {kind} is the files of one image: build one platform at a time")
        with _files(client, result["ID"]) as pieces:
            if kind == "local":
                extract(pieces, destination)
            else:
                _write(pieces, destination)
    elif kind in ("docker", "oci") and destination:
        names = result["Names"] or [result["Descriptor"]["digest"]]
        _write(client.open(images.save(*names)).pieces(), destination)


@contextlib.contextmanager
def _files(client: Client, image: str) -> Iterator[Iterator[bytes]]:
    """The archive of an image's files; the image is removed afterwards unless it has a name or another use."""
    container = client.do(containers.create({"Image": image, "Cmd": ["none"]}))["Id"]
    try:
        attested = _attestations(client, image)
        yield itertools.chain(attested, client.open(archives.export(container)).pieces())
    finally:
        client.do(containers.remove(container, volumes=True))


def _attestations(client: Client, image: str) -> Iterator[bytes]:
    """What is attested of an image, as the first files of an archive that goes on: in-toto statements, as they are."""
    from darse.archive.headers import member

    inspected = client.do(images.inspect(image, manifests=True))
    if not any(one["Kind"] == "attestation" for one in inspected.get("Manifests") or ()):
        return
    names: dict[str, int] = {}
    for one in client.do(images.attestations(image)):
        kind = "provenance" if one["PredicateType"].startswith(_PROVENANCE) else "sbom.spdx"
        names[kind] = number = names.get(kind, 0) + 1
        name = f"{kind}.json" if number == 1 else f"{kind.replace('.', f'-{number}.')}.json"
        content = json.dumps(one["Statement"], indent=2).encode()
        yield member(name.encode(), content, mode=0o600)


def _write(pieces: Iterable[bytes], destination: str) -> None:
    if destination != "-":
        write_whole(destination, pieces, "failed to write the output")
        return
    if sys.stdout.isatty():
        raise CliError("dest file is required for this exporter. refusing to write to console")
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def extract(pieces: Iterator[bytes], directory: str) -> None:
    """Unpack into a folder; what is there already stays, where nothing of the same name comes."""
    from darse.archive.errors import ArchiveRefused
    from darse.archive.extract import NoLinks, Unpacker, entries

    try:
        os.makedirs(directory, exist_ok=True)
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.umask(0)
            Unpacker(NoLinks(top), directory, own=False).unpack(entries(pieces))
        finally:
            os.close(top)
    except ArchiveRefused as error:
        raise CliError(f"failed to write the output: {error}") from error
    except OSError as error:
        where = error.filename or directory
        raise CliError(f"failed to write the output: {where}: {(error.strerror or '').lower()}") from error
