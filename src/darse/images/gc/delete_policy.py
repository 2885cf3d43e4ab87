"""Which removals of images are refused, in the words of moby's `daemon/images/image_delete.go`: scripts match them.

By name, a removal takes the name, and with an image's only name the image; that is refused, unless forced, while a
container uses it. By id it takes the image: never while a container runs or an image was made from it, and unless
forced not while it has several names, or a stopped container.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from darse.core.ids import short_id
from darse.core.object_references import ObjectUser
from darse.images import references
from darse.images.references import Reference


class DeleteContext(msgspec.Struct, frozen=True):
    """What decides whether an image may go."""

    image_id: str
    names: list[str]
    users: list[ObjectUser]
    has_children: bool = False


def names_meant(reference: Reference, names: list[str]) -> list[str]:
    """Of an image's `names`, those that a removal of `reference` takes.

    Of a digest, all of its repository's. With the repository's last tag go its digests.
    """
    same = [name for name in names if references.parse(name).name == reference.name]
    if reference.digest:
        return same
    named = [name for name in same if name == str(reference)]
    tags = [name for name in same if not references.parse(name).digest]
    return named + [name for name in same if name not in tags] if named == tags else named


def in_one_place(names: Iterable[str]) -> bool:
    """Whether an image has one name: one tag at most, and digests of the same repository only."""
    parsed = [references.parse(name) for name in names]
    tags = [one for one in parsed if not one.digest]
    return len(tags) <= 1 and len({one.name for one in parsed}) <= 1


def name_conflict(text: str, image: DeleteContext, *, force: bool) -> str:
    """Say why an image's only name, which the client called `text`, must stay, or return ""."""
    if force or not image.users or not in_one_place(image.names):
        return ""
    return (
        f'conflict: unable to remove repository reference "{text}" (must force) - container '
        f"{short_id(image.users[0].container_id)} is using its referenced image {short_id(image.image_id)}"
    )


def image_conflict(image: DeleteContext, *, force: bool) -> str:
    """Say why the image must stay, or return ""."""
    name = short_id(image.image_id)
    hard = f"conflict: unable to delete {name} (cannot be forced) - "
    soft = f"conflict: unable to delete {name} (must be forced) - "
    if image.has_children:
        return hard + "image has dependent child images"
    for user in image.users:
        if user.running:
            return f"{hard}image is being used by running container {short_id(user.container_id)}"
    if force:
        return ""
    if not in_one_place(image.names):
        return soft + "image is referenced in multiple repositories"
    if image.users:
        return f"{soft}image is being used by stopped container {short_id(image.users[0].container_id)}"
    return ""
