"""The import of a data root of docker's: networks, images, volumes, containers, each object for itself.

What cannot be taken over is reported and left, and all the rest goes on; what is here already is left as it is.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from darse.archive import process
from darse.containers import ContainerService
from darse.containers.dependencies import Dependencies
from darse.core import executors
from darse.core.errors import Conflict, EngineError, Exhausted, Forbidden, InvalidParameter, SystemFault
from darse.core.exhaustion import exhausted, in_words
from darse.docker_import import conversion
from darse.docker_import.records import DockerContainer, DockerImage, DockerNetwork
from darse.docker_import.root import DockerRoot
from darse.image_spec.digests import chain_ids
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.images import references
from darse.images.gc.collector import Lease
from darse.images.references import Reference
from darse.networks.service import PREDEFINED
from darse.wire.host_config import HostConfig
from darse.wire.networks import NetworkCreate
from darse.wire.system import ImportMessage
from darse.wire.volumes import VolumeCreate

T = TypeVar("T")
Container = tuple[DockerContainer, HostConfig]
# Of a swarm, or of its ingress.
_SWARM_NETWORKS = ("docker_gwbridge", "ingress")


class _Result(NamedTuple):
    """What became of an object; see `ImportMessage`."""

    outcome: str
    reason: str = ""
    advice: str = ""


_IMPORTED, _PRESENT = _Result("imported"), _Result("present")
_LEFT, _FAILED = "left", "failed"


class DockerImport:
    """One import."""

    def __init__(self, dependencies: Dependencies, containers: ContainerService, path: Path, *, dry_run: bool) -> None:
        self._dependencies = dependencies
        self._containers = containers
        self._path = path
        self._dry_run = dry_run
        self._counts: Counter[str] = Counter()
        self._starts: list[str] = []
        # The images that are here, or would be after a dry run.
        self._images_here: set[str] = set()
        self._found: list[Container] = []

    async def run(self) -> AsyncIterator[ImportMessage]:
        """Import all; yield what becomes of each object. Raises NotFound, Conflict and InvalidParameter at once."""
        root = await executors.storage.run(DockerRoot, self._path)
        if os.path.samefile(self._path, self._dependencies.config.data_root):
            raise InvalidParameter(f"{self._path} is the engine's own data root")
        with root.locked():
            # The layers that are here already are not to vanish before the images that need them are recorded.
            async with self._dependencies.images.lease() as lease:
                parts = (
                    ("container", self._look(root)),
                    ("network", self._networks(root)),
                    ("image", self._images(root, lease)),
                    ("volume", self._volumes(root)),
                    ("container", self._all(root)),
                )
                for kind, part in parts:
                    try:
                        async for message in part:
                            yield message
                    except Exhausted as error:
                        # Every further object would fail by it, too.
                        result = _Result(_FAILED, str(error), "make room, and import again")
                        yield self._message("import", "", "", result)
                        break
                    except InvalidParameter as error:
                        # A directory of theirs cannot be read.
                        yield self._message(kind, "", "", _Result(_FAILED, str(error)))
        yield ImportMessage(doing="done", counts=dict(self._counts), starts=self._starts)

    def _message(self, kind: str, id_: str, name: str, result: _Result) -> ImportMessage:
        self._counts[f"{kind} {result.outcome}"] += 1
        return ImportMessage(
            kind=kind, id=id_, name=name, outcome=result.outcome, reason=result.reason, advice=result.advice
        )

    async def _each(
        self, kind: str, objects: list[T], name: Callable[[T], tuple[str, str]], work: Callable[[T], Awaitable[_Result]]
    ) -> AsyncIterator[ImportMessage]:
        """Do the work on one object after the other; what it raises is what became of the object. Raises Exhausted.

        `name` gives the id and the name.
        """
        for number, one in enumerate(objects):
            yield ImportMessage(doing=f"{kind}s", done=number, total=len(objects))
            try:
                with in_words():
                    result = await work(one)
            except Exhausted:
                raise
            except (EngineError, OSError) as error:
                result = _Result(_FAILED, str(error))
            yield self._message(kind, *name(one), result)

    async def _read(
        self, kind: str, ids: Iterable[str], read: Callable[[str], T], into: list[T]
    ) -> AsyncIterator[ImportMessage]:
        """Read objects; yield a message for each that cannot be."""
        for one in ids:
            try:
                into.append(await executors.storage.run(read, one))
            except InvalidParameter as error:
                yield self._message(kind, one, "", _Result(_FAILED, str(error)))

    async def _look(self, root: DockerRoot) -> AsyncIterator[ImportMessage]:
        """Read which containers there are: they say which images are needed."""
        ids = await executors.storage.run(root.container_ids)
        async for message in self._read("container", ids, root.container, self._found):
            yield message

    # Networks

    async def _networks(self, root: DockerRoot) -> AsyncIterator[ImportMessage]:
        try:
            records = dict(await executors.storage.run(root.networks))
        except InvalidParameter as error:
            yield self._message("network", "", "", _Result(_FAILED, str(error)))
            return
        found: list[DockerNetwork] = []
        async for message in self._read("network", records, lambda one: root.network(one, records[one]), found):
            yield message
        found = [one for one in found if one.name not in PREDEFINED and not (one.inDelete or one.dynamic)]
        # Configurations before the networks that are made by them.
        found.sort(key=lambda one: not one.configOnly)
        async for message in self._each("network", found, lambda one: (one.id, one.name), self._network):
            yield message

    async def _network(self, found: DockerNetwork) -> _Result:
        if found.scope != "local" or found.ingress or found.name in _SWARM_NETWORKS:
            return _Result(_LEFT, "it is a swarm's")
        request = conversion.network_request(found)
        known = self._dependencies.networks.store.by_name(found.name)
        free = conversion.network_request(found, chosen=False)
        if known is not None:
            subnets = {pool.subnet for pool in known.pools}
            if _subnets(free) - subnets:
                shown = ", ".join(sorted(subnets)) or "none"
                raise Conflict(f"there is a network {found.name} already, with other subnets: {shown}")
            return _PRESENT
        if self._dry_run:
            return _IMPORTED
        try:
            await self._dependencies.networks.create(request)
        except (Conflict, Forbidden):
            lost = _subnets(request) - _subnets(free)
            if not lost:
                raise
            # No container has a fixed address in a subnet that docker chose.
            await self._dependencies.networks.create(free)
            return _IMPORTED._replace(reason=f"with another subnet: {', '.join(sorted(lost))} is in use here")
        return _IMPORTED

    # Images

    async def _images(self, root: DockerRoot, lease: Lease) -> AsyncIterator[ImportMessage]:
        names: dict[str, list[str]] = {}
        try:
            names = await executors.storage.run(root.names)
        except InvalidParameter as error:
            yield self._message("image", "", "", _Result(_FAILED, f"{error}: the names of images are lost"))
        images: list[DockerImage] = []
        ids = await executors.storage.run(root.image_ids)
        async for message in self._read("image", ids, lambda one: root.image(one, names.get(one, [])), images):
            yield message
        parents = {one.id: one.parent for one in images}
        kept = list(_without_steps(images, {found.Image for found, _ in self._found}))
        # In a thread: there are as many steps as images above images.
        ordered = await executors.storage.run(
            lambda: list(_in_order(kept, lambda one: (one.id,), lambda one: _above(one.id, parents)))
        )
        work = functools.partial(self._image, root, lease, parents)
        async for message in self._each("image", ordered, lambda one: (one.id, ", ".join(one.names)), work):
            yield message

    async def _image(self, root: DockerRoot, lease: Lease, parents: dict[str, str], image: DockerImage) -> _Result:
        images = self._dependencies.images
        names, taken = self._free_names(image)
        chain = chain_ids(image.diff_ids)
        lease.hold(*chain)
        is_here = images.by_id(image.id) is not None
        if not self._dry_run and not is_here:
            pairs = zip(image.diff_ids, chain, strict=True)
            layers = [await self._layer(root, diff_id, chain_id) for diff_id, chain_id in pairs]
            parent = next((one for one in _above(image.id, parents) if images.by_id(one) is not None), "")
            async with images.create_image(image.config, layers, names=names, parent=parent):
                pass
        elif not self._dry_run:
            for name in names:
                images.tag_image(image.id, str(name), "")
        self._images_here.add(image.id)
        result = _PRESENT if is_here else _IMPORTED
        if taken:
            return result._replace(reason=f"without the name {', '.join(taken)}, which another image has here")
        return result

    def _free_names(self, image: DockerImage) -> tuple[list[Reference], list[str]]:
        """The names that an image does not have yet; and those that another one has here."""
        names, taken = [], []
        for text in image.names:
            name = references.parse_tag(text)
            try:
                holder = self._dependencies.images.get_image(text)
            except EngineError:
                names.append(name)
                continue
            if holder.id != image.id:
                taken.append(text)
        return names, taken

    async def _layer(self, root: DockerRoot, diff_id: str, chain_id: str) -> Descriptor:
        images = self._dependencies.images
        if not images.has_layer(chain_id):
            found = await executors.storage.run(root.layer, chain_id)
            await images.link_layer(chain_id, diff_id, found.files, found.tar_split)
        return Descriptor(OCI_LAYER, diff_id, images.layer_archive_size(chain_id))

    # Volumes

    async def _volumes(self, root: DockerRoot) -> AsyncIterator[ImportMessage]:
        records: dict[str, bytes] = {}
        try:
            records = await executors.storage.run(root.volume_records)
        except InvalidParameter as error:
            yield self._message("volume", "", "", _Result(_FAILED, f"{error}: labels and options are lost"))
        names = sorted({*await executors.storage.run(root.volumes), *records})
        work = functools.partial(self._volume, root, records)
        async for message in self._each("volume", names, lambda one: (one, one), work):
            yield message

    async def _volume(self, root: DockerRoot, records: dict[str, bytes], name: str) -> _Result:
        volumes = self._dependencies.volumes
        if volumes.exists(name):
            return _PRESENT
        found = await executors.storage.run(root.volume, name, records.get(name, b""))
        if found.driver != "local":
            return _Result(_LEFT, f"it is the plugin {found.driver}'s", "install the plugin, and create it by that")
        if self._dry_run:
            return _IMPORTED
        if found.options.get("device"):
            await volumes.create(VolumeCreate(name, "local", found.options, found.labels))
        else:
            await volumes.data.take_over(name, found.data, found.labels, found.options.get("size", ""))
        return _IMPORTED

    # Containers

    async def _all(self, root: DockerRoot) -> AsyncIterator[ImportMessage]:
        ordered = list(_in_order(self._found, _names_of, lambda one: conversion.depends_on(*one)))
        work = functools.partial(self._container, root)
        async for message in self._each("container", ordered, _names_of, work):
            yield message

    async def _container(self, root: DockerRoot, container: Container) -> _Result:
        found, host = container
        known = self._dependencies.store.find(found.ID)
        if known is not None:
            if conversion.is_started(found, host) and not (known.state.active or known.state.manually_stopped):
                self._starts.append(found.ID)
            return _PRESENT
        if await executors.storage.run(root.runs, found):
            advice = "have docker stop it, stop docker, and import again"
            return _Result(_LEFT, "it runs, although no dockerd does (live-restore)", advice)
        if found.OS not in ("", "linux") or found.Driver not in ("", "overlay2"):
            return _Result(_LEFT, f"it is for {found.OS or 'linux'}, and its files are those of {found.Driver}")
        files = await executors.storage.run(root.writable_layer, found.ID)
        fill = functools.partial(_copy, files)
        asked = conversion.adopted(found, conversion.without_volumes_from(host), fill)
        if not self._dry_run:
            await self._containers.adopt(asked)
        elif found.Image not in self._images_here:
            raise InvalidParameter(f"its image {found.Image} is not there")
        else:
            self._dependencies.store.refuse_taken(asked.name)
        if conversion.is_started(found, host):
            self._starts.append(found.ID)
        return _IMPORTED


def _subnets(request: NetworkCreate) -> set[str]:
    return {pool.Subnet for pool in (request.IPAM.Config if request.IPAM else None) or ()}


def _without_steps(images: list[DockerImage], used: set[str]) -> Iterator[DockerImage]:
    """Leave out the steps of builds that have no name and no container: they are a builder's cache."""
    built_on = {image.parent for image in images}
    return (image for image in images if image.names or image.id not in built_on or image.id in used)


def _above(image_id: str, parents: dict[str, str]) -> list[str]:
    """The images that an image was built on, the nearest first."""
    found: dict[str, None] = {}
    while (image_id := parents.get(image_id, "")) and image_id not in found:
        found[image_id] = None
    return list(found)


def _names_of(container: Container) -> tuple[str, str]:
    return container[0].ID, container[0].Name.removeprefix("/")


def _in_order(
    objects: list[T], names: Callable[[T], Iterable[str]], needs: Callable[[T], Iterable[str]]
) -> Iterator[T]:
    """Yield each after those that it needs, by their names; where they need each other, as they come."""
    by_name = {name: number for number, one in enumerate(objects) for name in names(one)}
    done: set[int] = set()

    def needed(number: int) -> Iterator[int]:
        return iter([by_name[name] for name in needs(objects[number]) if name in by_name])

    for first in range(len(objects)):
        if first in done:
            continue
        # The objects that wait for one that they need, with what each still has to ask for.
        pending = {first: needed(first)}
        while pending:
            number = next(reversed(pending))
            further = next((one for one in pending[number] if one not in done and one not in pending), None)
            if further is not None:
                pending[further] = needed(further)
                continue
            del pending[number]
            done.add(number)
            yield objects[number]


async def _copy(files: Path, upper: Path) -> None:
    """Copy a writable layer. Raises InvalidParameter and SystemFault."""
    try:
        opened = os.open(files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidParameter(f"{files}: {(error.strerror or str(error)).lower()}") from error
    try:
        answer = await process.copy_tree(opened, upper, overlay=True)
    except process.WorkerFailed as error:
        raise SystemFault(str(error)) from error
    finally:
        os.close(opened)
    if "fault" in answer:
        if fault := exhausted(OSError(int(answer["errno"]), ""), upper):
            raise fault
        raise SystemFault(f"{files}: {answer['fault']}")
