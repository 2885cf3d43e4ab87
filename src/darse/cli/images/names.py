"""Names of images as people write them, taken apart: registry, path, tag, digest.

Nothing is checked here: the engine has the grammar, and `in_docker_words` gives its refusal the form that docker's
client gives its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from darse.cli.errors import ApiError, CliError

HUB = "docker.io"
_OFFICIAL = "library/"
_PLAIN = r"([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?/)?[a-z0-9]+([._/-][a-z0-9]+)*(:\w[\w.-]{0,127})?"


class ImageName(NamedTuple):
    """A name in full."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository as people write it: `busybox`."""
        return familiar(self.repository)

    @property
    def is_bare(self) -> bool:
        """Whether it has neither tag nor digest."""
        return not (self.tag or self.digest)

    def tagged(self) -> ImageName:
        """Itself, with the tag `latest` where it has neither tag nor digest."""
        return self._replace(tag="latest") if self.is_bare else self

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.repository + self._suffix()

    @property
    def short(self) -> str:
        """The whole name as people write it."""
        return self.familiar + self._suffix()


def split(text: str) -> ImageName:
    """Take a name apart. The first component is a registry when it looks like a host's name."""
    name, _, digest = text.partition("@")
    head, tag = split_tag(name)
    first, slash, rest = head.partition("/")
    is_domain = bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, path = (first, rest) if is_domain else (HUB, head)
    if domain == "index.docker.io":
        domain = HUB
    if domain == HUB and "/" not in path:
        path = _OFFICIAL + path
    return ImageName(domain, path, tag, digest)


def checked(text: str) -> ImageName:
    """Take a name apart that must be one. Raises CliError in docker's words.

    The whole grammar takes long to import, and is asked only of what is not plainly right.
    """
    if re.fullmatch(_PLAIN, text, re.ASCII) is None or re.fullmatch("[0-9a-f]{64}", text):
        from darse.distribution import references
        from darse.distribution.errors import InvalidReference

        try:
            references.parse_name(text)
        except InvalidReference as error:
            raise CliError(str(error)) from None
    return split(text)


def check_any(text: str) -> None:
    """Raise CliError for what can be neither the name nor the ID of an image."""
    if re.fullmatch("(sha256:)?[0-9a-f]{64}", text) is None:
        checked(text)


def split_tag(text: str) -> tuple[str, str]:
    """A name and its tag, which may be empty; a registry's port is no tag."""
    head, colon, tag = text.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (text, "")


def familiar(repository: str) -> str:
    """A repository without what Docker Hub's names need not have."""
    rest = repository.removeprefix(f"{HUB}/")
    if rest == repository:
        return repository
    return rest.removeprefix(_OFFICIAL) if rest.count("/") == 1 else rest


def in_docker_words(error: ApiError) -> CliError:
    """The refusal of a name as docker's client, which checks names itself, words it; other errors as they are."""
    bad = error.http_status == 400 and error.reason.startswith(("invalid reference format", "invalid repository name"))
    return CliError(error.reason) if bad else error
