"""Images shown as directories (`--mount type=image`): read-only overlays of their layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from darse.containers.dependencies import Dependencies
from darse.core.errors import NotFound
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.remapping import IdentityMapping, IdMapping
from darse.volumes.mounts import MountPlan


class ImageMounts:
    """Finds the images that containers mount."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def resolve(self, plans: Iterable[MountPlan]) -> dict[str, list[str]]:
        """Put the images' ids into their plans; return their layers' chain IDs by them. Raises NotFound."""
        found: dict[str, list[str]] = {}
        for plan in plans:
            if plan.type != "image":
                continue
            if plan.from_container:
                found[plan.source] = self._inherited(plan.source)
                continue
            image = await self._dependencies.images.ensure_image(plan.name)
            plan.source = image.id
            found[image.id] = list(image.chain_ids)
        return found

    def _inherited(self, image_id: str) -> list[str]:
        """Of an image that another container mounts; it may have been removed by force."""
        mounted = self._dependencies.snapshots.mounted
        for container in self._dependencies.store:
            if image_id in mounted.images_of(container.id):
                return mounted.chain_of(container.id, image_id)
        raise NotFound(f"No such image: {image_id}")

    async def prepare_all(
        self, plans: Sequence[MountPlan], container_id: str, begun: list[MountPlan], mapping: IdMapping | None = None
    ) -> list[BindMount | TmpfsMount]:
        """Have all mounts of a container ready, those of images and the volume service's, in the order of `plans`.

        `mapping` is that of the user namespace that sees images; none: the engine's own. For `begun` and errors see
        `VolumeMounting.prepare_mounts`.
        """
        others = [plan for plan in plans if plan.type != "image"]
        ready = iter(await self._dependencies.volumes.mounting.prepare_mounts(others, container_id, begun))
        mapping = mapping or IdentityMapping()
        return [self._mount(plan, container_id, mapping) if plan.type == "image" else next(ready) for plan in plans]

    def _mount(self, plan: MountPlan, container_id: str, mapping: IdMapping) -> BindMount:
        empty = self._dependencies.snapshots.empty
        layers = self._dependencies.snapshots.mounted.layers_of(container_id, plan.source)
        if layers:
            # An overlay needs two, and a single layer must not show its whiteouts either.
            layers = layers if len(layers) > 1 else [*layers, empty]
        empty, layers = mapping.mapped_path(empty), [mapping.mapped_path(layer) for layer in layers]
        return BindMount(
            "" if layers else empty, plan.destination, False, "rprivate", subpath=plan.subpath, layers=layers
        )
