"""Tags of logs: docker's templates of a container's names, `{{.Name}}/{{.ID}}`.

The fields and methods of docker's logger.Info stand alone between braces; what else Go's templates can do is refused
when the container is created, rather than written wrongly into every line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from darse.containers.model import Container
from darse.core.errors import InvalidParameter
from darse.core.ids import short_id

_ACTION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELDS: Final[dict[str, Callable[[Container], str]]] = {
    ".ID": lambda one: short_id(one.id),
    ".FullID": lambda one: one.id,
    ".Name": lambda one: one.name,
    ".ContainerID": lambda one: one.id,
    ".ContainerName": lambda one: f"/{one.name}",
    ".ImageID": lambda one: short_id(one.record.image_id.removeprefix("sha256:")),
    ".ImageFullID": lambda one: one.record.image_id,
    ".ImageName": lambda one: one.record.image_reference,
    ".ContainerImageID": lambda one: one.record.image_id,
    ".ContainerImageName": lambda one: one.record.image_reference,
    ".DaemonName": lambda _: "darse",
    ".Command": lambda one: " ".join(one.record.command),
}


def check_tag(template: str) -> None:
    """Raise InvalidParameter for a template that cannot be rendered."""
    for action in _ACTION.findall(template):
        if action not in _FIELDS:
            known = " ".join(f"{{{{{name}}}}}" for name in sorted(_FIELDS))
            raise InvalidParameter(f"invalid log opt tag: unknown {{{{{action}}}}}; these are known: {known}")


def render_tag(template: str, container: Container) -> str:
    """A container's tag. Raises KeyError for a template that `check_tag` refuses."""
    return _ACTION.sub(lambda match: _FIELDS[match[1]](container), template)
