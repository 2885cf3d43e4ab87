"""Attestations of what is built: in-toto statements about an image's manifest, or about the files of a tree.

`darse.images.content.attestations` lays out those of images. Those of trees are files beside the tree's own, as
BuildKit's exporters `local` and `tar` have them: `sbom.spdx.json`, `provenance.json`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from darse.build.errors import BuildError
from darse.build.exporter.options import PlatformResult
from darse.build.solver.operation_executor import Snapshot
from darse.image_spec.manifests import Descriptor
from darse.images import references
from darse.images.content.attestations import Attestation, attestation_manifest
from darse.linux.fs.contained import ENTER, LEAVE, Walk

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

_STATEMENT = "https://in-toto.io/Statement/v0.1"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def attestation_of(
    manifest: Descriptor, predicates: Sequence[tuple[str, str, object]], names: Sequence[str]
) -> Attestation:
    """The attestation of predicates, as PlatformResult has them, about an image with these names."""
    platform = str(manifest.platform) if manifest.platform is not None else ""
    digest = {"sha256": manifest.digest.removeprefix("sha256:")}
    subjects = [{"name": _package_url(name, platform), "digest": digest} for name in names] or [
        {"name": "_", "digest": digest}
    ]
    statements = [(_statement(subjects, kind, predicate), kind) for _, kind, predicate in predicates]
    return attestation_manifest(manifest.digest, statements)


def _statement(subjects: Sequence[dict[str, Any]], predicate_type: str, predicate: object) -> bytes:
    return msgspec.json.encode(
        {"_type": _STATEMENT, "predicateType": predicate_type, "subject": subjects, "predicate": predicate}
    )


def _package_url(name: str, platform: str) -> str:
    """`pkg:docker/NAME@TAG?platform=…` (package-url specification)."""
    reference = references.parse(name)
    query = f"?platform={quote(platform, safe='')}" if platform else ""
    return f"pkg:docker/{quote(reference.familiar_name, safe='/')}@{quote(reference.tag, safe='')}{query}"


@contextlib.asynccontextmanager
async def with_attestations(
    executor: EngineExecutor, result: PlatformResult, prefix: str = "", suffix: str = ""
) -> AsyncIterator[Snapshot | None]:
    """A tree with what is attested of it, for the block; the result's own where that is nothing. Raises BuildError.

    prefix, suffix: of the files' names, before and after all of them but their extension.
    """
    if not result.predicates:
        yield result.snapshot
        return
    layers = executor.layers_of(result.snapshot) if result.snapshot is not None else ()
    active = executor.snapshotter.prepare(layers)
    try:
        write = partial(_write_statements, result, prefix, suffix)
        await executor.trees.change(active, (), write)
        committed = await executor.snapshotter.commit(active)
    except OSError as error:
        raise BuildError(f"cannot write attestations: {(error.strerror or str(error)).lower()}") from error
    finally:
        await executor.snapshotter.discard(active)
    try:
        yield Snapshot(committed.id, committed.size)
    finally:
        await executor.remove(committed.id)


def _write_statements(result: PlatformResult, prefix: str, suffix: str, root: int, _sources: Sequence[int]) -> None:
    subjects = list(_files(root))
    for name, kind, predicate in result.predicates:
        base, dot, extension = name.rpartition(".")
        full = f"{prefix}{base}{suffix}{dot}{extension}".replace("/", "_")
        statement = msgspec.json.format(_statement(subjects, kind, predicate), indent=2)
        try:
            descriptor = os.open(full, _NEW_FILE, 0o600, dir_fd=root)
        except FileExistsError:
            raise BuildError(
                f"the tree has a file {full}, which is to be an attestation: use attestation-prefix"
            ) from None
        with open(descriptor, "wb") as file:
            file.write(statement)
        if result.created is not None:
            os.utime(full, (result.created, result.created), dir_fd=root, follow_symlinks=False)


def _files(root: int) -> list[dict[str, Any]]:
    """The regular files of a tree, with their digests, as subjects of a statement."""
    found: list[dict[str, Any]] = []
    parents: list[str] = []
    for kind, directory, name, status in Walk(root, ordered=True):
        if kind == LEAVE:
            parents.pop()
        elif kind == ENTER:
            parents.append(name)
        elif stat.S_ISREG(status.st_mode):
            path = "/".join((*parents, name)).encode("utf-8", "replace").decode()
            found.append({"name": path, "digest": {"sha256": _digest(directory, name)}})
    return found


def _digest(directory: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
