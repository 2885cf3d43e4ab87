"""Which removals of images are refused, in the words of moby's `daemon/images/image_delete.go`: scripts match them.

By name, a removal takes the name, and with an image's only name the image; that is refused, unless forced, while a
container uses it. By id it takes the image: not while a container runs, whatever is forced, and unless forced not while
it has several names, or a stopped container.
"""

from __future__ import annotations

import msgspec

from darse.engine.ids import short_id
from darse.images import references
from darse.images.references import Reference


class ImageUser(msgspec.Struct, frozen=True):
    """A container that was made from an image."""

    container_id: str
    running: bool


def names_meant(reference: Reference, names: list[str]) -> list[str]:
    """Of an image's `names`, those that a removal of `reference` takes: of a digest, all of its repository's."""
    if not reference.digest:
        return [name for name in names if name == str(reference)]
    return [name for name in names if references.parse(name).name == reference.name]


def refusal(image_id: str, text: str, names: list[str], users: list[ImageUser], *, by_name: bool, force: bool) -> str:
    """Say why the image must stay, or return "". `text` is what the client called it: `by_name`, or an id."""
    if by_name:
        if not users or force:
            return ""
        return (
            f'conflict: unable to remove repository reference "{text}" (must force) - container '
            f"{short_id(users[0].container_id)} is using its referenced image {short_id(image_id)}"
        )
    image = short_id(image_id)
    for user in users:
        if user.running:
            return (
                f"conflict: unable to delete {image} (cannot be forced) - "
                f"image is being used by running container {short_id(user.container_id)}"
            )
    if force:
        return ""
    if len(names) > 1:
        return f"conflict: unable to delete {image} (must be forced) - image is referenced in multiple repositories"
    if users:
        return (
            f"conflict: unable to delete {image} (must be forced) - "
            f"image is being used by stopped container {short_id(users[0].container_id)}"
        )
    return ""
