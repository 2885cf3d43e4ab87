"""What clients see of images: lists, inspect and history."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import msgspec

from darse.engine.filters import Filters
from darse.engine.times import rfc3339
from darse.images import references
from darse.images.layers import LayerStore
from darse.images.model import History, Image
from darse.images.removal import ImageUser
from darse.images.snapshots import DRIVER
from darse.images.store import ImageStore
from darse.wire.containers import GraphDriver
from darse.wire.images import HistoryEntry, ImageInspect, ImageSummary, Metadata
from darse.wire.images import ImageConfig as WireImageConfig
from darse.wire.images import RootFS as WireRootFS


class ImageViews:
    """The image service's answers to questions; nothing here changes anything."""

    store: ImageStore
    layers: LayerStore

    @property
    def users(self) -> Callable[[str], list[ImageUser]]:
        """Tells the containers of an image id."""
        raise NotImplementedError

    def get(self, reference: str) -> Image:
        """Return an image by name, id or abbreviated id. Raises NotFound and InvalidParameter."""
        return self.store.find(reference).image

    def list_images(
        self, filters: Filters, *, everything: bool = False, shared_size: bool = False
    ) -> list[ImageSummary]:
        """The images that match, newest first."""
        del everything  # intermediate images of the classic builder do not exist here
        names = self.store.all_names()
        shared = self._shared_layers() if shared_size else {}
        chosen = [image for image in self.store if self._matches(image, names.get(image.id, []), filters)]
        return sorted(
            (self._summary(image, names.get(image.id, []), filters, shared) for image in chosen),
            key=lambda summary: (-summary.Created, summary.Id),
        )

    def _summary(self, image: Image, names: list[str], filters: Filters, shared: dict[str, int]) -> ImageSummary:
        tags = familiar_tags(names)
        wanted = filters.values("reference")
        if wanted:
            tags = [tag for tag in tags if _reference_matches(tag, wanted)]
        return ImageSummary(
            Id=image.id,
            RepoTags=tags,
            RepoDigests=self._repo_digests(names),
            Created=unix(image.config.created),
            Size=image.size,
            SharedSize=sum(self.layers.size(chain) for chain in image.chain_ids if shared.get(chain, 0) > 1)
            if shared
            else -1,
            Labels=image.container_config().Labels,
            Containers=len(self.users(image.id)) if shared else -1,
        )

    def _shared_layers(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for image in self.store:
            for chain in set(image.chain_ids):
                counts[chain] = counts.get(chain, 0) + 1
        return counts

    def _matches(self, image: Image, names: list[str], filters: Filters) -> bool:
        dangling = filters.flag("dangling")
        if dangling is not None and dangling == bool(names):
            return False
        labels = image.container_config().Labels
        if not filters.labels(labels) or not filters.without_labels(labels):
            return False
        created = unix(image.config.created)
        for key, sign in (("before", 1), ("since", -1)):
            for other in filters.values(key):
                if (unix(self.get(other).config.created) - created) * sign <= 0:
                    return False
        until = filters.until_ns()
        if until is not None and created * 1_000_000_000 >= until:
            return False
        wanted = filters.values("reference")
        return not wanted or any(_reference_matches(references.parse(name).familiar, wanted) for name in names)

    def inspect(self, reference: str) -> ImageInspect:
        """The whole of an image. Raises NotFound."""
        image = self.get(reference)
        names = self.store.names_with(image.id)
        config = image.config
        lower = [str(self.layers.path(chain)) for chain in reversed(image.chain_ids)]
        graph = {"UpperDir": lower[0], "LowerDir": ":".join(lower[1:])} if lower else {}
        return ImageInspect(
            Id=image.id,
            RepoTags=familiar_tags(names),
            RepoDigests=self._repo_digests(names),
            Comment=config.comment,
            Created=config.created,
            DockerVersion=config.docker_version,
            Author=config.author,
            Config=WireImageConfig.of(config.config),
            Architecture=config.architecture,
            Variant=config.variant or msgspec.UNSET,
            Os=config.os,
            OsVersion=config.os_version or msgspec.UNSET,
            Size=image.size,
            GraphDriver=GraphDriver(DRIVER, graph),
            RootFS=WireRootFS("layers", [layer.diff_id for layer in image.layers]),
            Metadata=Metadata(rfc3339(self.store.tagged_ns(image.id))),
        )

    def _repo_digests(self, names: list[str]) -> list[str]:
        """A name's repository, with the digest of what the name refers to."""
        return sorted(
            {f"{references.parse(name).familiar_name}@{self.store.digest_named(name)}" for name in names},
        )

    def history(self, reference: str) -> list[HistoryEntry]:
        """How an image came about, newest step first. Raises NotFound."""
        image = self.get(reference)
        layers = iter(image.layers)
        steps = image.config.history or [History(created=image.config.created) for _ in image.layers]
        entries = []
        for step in steps:
            layer = None if step.empty_layer else next(layers, None)
            size = self.layers.size(layer.chain_id) if layer else 0
            entries.append(HistoryEntry("<missing>", unix(step.created), step.created_by, None, size, step.comment))
        if entries:
            entries[-1].Id = image.id
            entries[-1].Tags = familiar_tags(self.store.names_with(image.id)) or None
        return entries[::-1]

    def layers_size(self) -> int:
        """Bytes of all unpacked layers."""
        return sum(self.layers.sizes().values())


def familiar_tags(names: list[str]) -> list[str]:
    """The names with tags, as people write them; those with a digest are the business of RepoDigests."""
    return [reference.familiar for name in names if not (reference := references.parse(name)).digest]


def unix(created: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; 0 for none."""
    try:
        return int(datetime.datetime.fromisoformat(created).timestamp())
    except (ValueError, OverflowError):
        return 0


def _reference_matches(familiar: str, patterns: list[str]) -> bool:
    import fnmatch  # noqa: PLC0415 - only lists with a filter need it

    name = familiar.rpartition(":")[0]
    return any(
        fnmatch.fnmatchcase(candidate, pattern)
        for pattern in patterns
        for candidate in (familiar, name)
        if pattern.count("/") == candidate.count("/")
    )
