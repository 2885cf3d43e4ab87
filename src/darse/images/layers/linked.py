"""Layers of docker's, taken over: their files linked, where both are on one file system, and verified.

A layer's files are never changed, neither here nor by docker: both may have them, and the last to remove a layer frees
them. What docker's overlay2 keeps is what this store keeps: a character device 0/0 for a deletion, and the attribute
`trusted.overlay.opaque` for a directory that hides the one below.
"""

from __future__ import annotations

import os
from pathlib import Path

from darse.archive import process
from darse.archive.tree_copy import TreeCopy
from darse.core import executors
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import exhausted
from darse.images.content.store import ContentStore
from darse.images.layers.store import TAR_SPLIT_FILE, StagedLayer
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import open_regular

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


async def stage_linked(content: ContentStore, files: Path, tar_split: Path, name: str) -> StagedLayer:
    """Stage a layer whose files are in the directory `files`, and its archive's metadata in `tar_split` (gzip).

    The caller compares the digest, and publishes or discards it. Errors call it `name`. Raises InvalidParameter for
    files that are no layer, and SystemFault.
    """
    staged = content.temporary()
    try:
        await executors.storage.run_to_end(_link, files, staged / "fs", name)
        answer = await _converted(staged, tar_split, name)
    except BaseException:
        await executors.storage.run_to_end(remove_tree, staged)
        raise
    return StagedLayer(staged, f"sha256:{answer['digest']}", int(answer["content"]), int(answer["length"]))


def _link(source: Path, target: Path, name: str) -> None:
    target.mkdir(mode=0o755, parents=True)
    try:
        top = os.open(source, _DIRECTORY)
    except OSError as error:
        raise InvalidParameter(f"layer {name}: {source}: {(error.strerror or str(error)).lower()}") from error
    try:
        copy = os.open(target, _DIRECTORY)
        try:
            TreeCopy(top, copy, links=True, overlay=True).run()
        except OSError as error:
            if fault := exhausted(error, target):
                raise fault from error
            raise InvalidParameter(f"layer {name}: {(error.strerror or str(error)).lower()}") from error
        finally:
            os.close(copy)
    finally:
        os.close(top)


async def _converted(staged: Path, tar_split: Path, name: str) -> dict[str, str]:
    try:
        metadata = open_regular(tar_split)
    except OSError as error:
        raise InvalidParameter(f"layer {name}: {tar_split}: {(error.strerror or str(error)).lower()}") from error
    try:
        target = os.open(staged / TAR_SPLIT_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            answer = await process.convert(staged / "fs", metadata, target)
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        finally:
            os.close(target)
    finally:
        os.close(metadata)
    if problem := answer.get("damaged") or answer.get("error"):
        raise InvalidParameter(f"layer {name}: {problem}")
    if "digest" not in answer:
        raise SystemFault(f"layer {name}: {answer.get('fault', 'the worker gave no answer')}")
    return answer
