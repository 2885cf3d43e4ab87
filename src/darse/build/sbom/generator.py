"""Scanners in images, by BuildKit's protocol (`docs/attestations/sbom-protocol.md`).

    /run/src/core/sbom             the result, read-only        BUILDKIT_SCAN_SOURCE
    /run/src/extras/sbom-NAME      other trees, read-only       BUILDKIT_SCAN_SOURCE_EXTRAS
    /run/out                       what the scanner writes      BUILDKIT_SCAN_DESTINATION

It runs as a step of the build does, and may do no more. What it writes is in-toto statements, `NAME.spdx.json`, whose
predicates are attested with subjects of ours. Anybody may have made the image: files are bounded, links not followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from darse.build.errors import BuildError
from darse.build.exporter import BillOfMaterials
from darse.build.graph import EMPTY, ExecMount, ExecOperation, MountKind, ProcessMeta
from darse.build.request import SbomRequest
from darse.build.sbom.files import read_entry
from darse.linux.fs.contained import sorted_names

_SOURCE, _EXTRAS, _OUT = "/run/src/core/sbom", "/run/src/extras", "/run/out"
_MOST_FILES, _MOST_BYTES = 100, 64 << 20
# BuildKit itself says how an image was made.
_PROVENANCE = "https://slsa.dev/provenance/"


class _Statement(msgspec.Struct):
    """In-toto's, as far as it counts."""

    predicate: msgspec.Raw
    predicate_type: str = msgspec.field(name="predicateType")


def scanner_process(
    asked: SbomRequest, config: Mapping[str, Any], extras: Sequence[str], *, has_tree: bool
) -> ExecOperation:
    """The process of a scanner, of its image's configuration. Its inputs are the image, the result, and the extras.

    has_tree: whether the result is more than an empty tree, which is no input. Raises BuildError.
    """
    arguments = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    if not arguments:
        raise BuildError(f"scanner {asked.generator} does not have cmd")
    variables = [f"BUILDKIT_SCAN_DESTINATION={_OUT}", f"BUILDKIT_SCAN_SOURCE={_SOURCE}"]
    if extras:
        variables.append(f"BUILDKIT_SCAN_SOURCE_EXTRAS={_EXTRAS}/")
    variables += [f"BUILDKIT_SCAN_{name}={value}" for name, value in asked.parameters]
    given = {one.partition("=")[0]: one for one in (*(config.get("Env") or ()), *variables)}
    first = 1 + has_tree
    mounts = (
        ExecMount("/", 0),
        ExecMount("/tmp", kind=MountKind.TMPFS),  # noqa: S108 - the scanner's
        ExecMount(_SOURCE, 1 if has_tree else EMPTY, read_only=True),
        *(ExecMount(f"{_EXTRAS}/sbom-{name}", first + number, read_only=True) for number, name in enumerate(extras)),
        ExecMount(_OUT, EMPTY, output=0),
    )
    meta = ProcessMeta(
        arguments, tuple(given.values()), directory=config.get("WorkingDir") or "/", user=config.get("User") or ""
    )
    return ExecOperation(meta, mounts)


def read_bills(root: int) -> list[BillOfMaterials]:
    """What a scanner has written into the tree of `root`; the result's own first. Raises BuildError."""
    found = []
    for number, name in enumerate(sorted_names(root)):
        if number >= _MOST_FILES:
            raise BuildError(f"the scanner has written more than {_MOST_FILES} files")
        content = read_entry(root, name, _MOST_BYTES)
        if content is None:
            raise BuildError(f"the scanner has written {name!r}, which is no file of at most {_MOST_BYTES} bytes")
        try:
            statement = msgspec.json.decode(content, type=_Statement)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise BuildError(f"cannot decode in-toto statement {name!r} of the scanner: {error}") from None
        if statement.predicate_type.startswith(_PROVENANCE):
            raise BuildError("a scanner may not attest provenance")
        found.append(BillOfMaterials(name, statement.predicate_type, msgspec.Raw(bytes(statement.predicate))))
    if not found:
        raise BuildError("the scanner has written no bill of materials")
    return sorted(found, key=lambda one: one.name.partition(".")[0] != "sbom")
