# ruff: noqa: N802 - methods are named as the placeholders
"""An image as rows: the placeholders of `images --format`; an image has a row per name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from darse.cli.output.format import Row, ago, local_time
from darse.image_spec.references import familiar
from darse.units import human_size

HEADINGS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_CREATED = "{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}"
_TABLE = f"table {{{{.Repository}}}}\t{{{{.Tag}}}}\t{{{{.ID}}}}\t{_CREATED}\t{{{{.Size}}}}"
_TABLE_WITH_DIGEST = f"table {{{{.Repository}}}}\t{{{{.Tag}}}}\t{{{{.Digest}}}}\t{{{{.ID}}}}\t{_CREATED}\t{{{{.Size}}}}"
_RAW = "repository: {{ .Repository }}\ntag: {{.Tag}}\n"
_RAW_END = "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"


def default_format(source: str, *, quiet: bool, digest: bool) -> str:
    """The format that `source` stands for."""
    if source in ("", "table"):
        return "{{.ID}}" if quiet else _TABLE_WITH_DIGEST if digest else _TABLE
    if source == "raw":
        return "image_id: {{.ID}}" if quiet else _RAW + ("digest: {{.Digest}}\n" if digest else "") + _RAW_END
    if source.startswith("table") and digest and "{{.Digest}}" not in source:
        source += "\t{{.Digest}}"
    return source


class ImageRow(Row):
    """An image under one of its names."""

    GO_NAME: ClassVar[str] = "*formatter.imageContext"

    def __init__(self, document: Mapping[str, Any], name: tuple[str, str, str], *, truncate: bool = True) -> None:
        super().__init__(document, truncate=truncate)
        self._repository, self._tag, self._digest = name

    def ID(self) -> str:
        return self.id_text(self.document["Id"])

    def Repository(self) -> str:
        return self._repository

    def Tag(self) -> str:
        return self._tag

    def Digest(self) -> str:
        return self._digest

    def CreatedSince(self) -> str:
        return ago(self.document["Created"])

    def CreatedAt(self) -> str:
        return local_time(self.document["Created"])

    def Size(self) -> str:
        return human_size(self.document["Size"], 3)

    def Containers(self) -> str:
        count = self.document.get("Containers", -1)
        return "N/A" if count == -1 else str(count)

    def VirtualSize(self) -> str:
        return human_size(self.document["Size"])

    def SharedSize(self) -> str:
        shared = self.document.get("SharedSize", -1)
        return "N/A" if shared == -1 else human_size(shared)

    def UniqueSize(self) -> str:
        shared = self.document.get("SharedSize", -1)
        return "N/A" if shared == -1 or self.document["Size"] == -1 else human_size(self.document["Size"] - shared)


def rows(document: Mapping[str, Any], *, truncate: bool, digests: bool, shows_digest: bool) -> Iterator[ImageRow]:
    """The rows of an image: one per tag (and digest, with `shows_digest`), then names that have digests only.

    `digests` is the flag of that name: only with it each digest without a tag has a row.
    """
    for name in _names(document, digests, shows_digest):
        yield ImageRow(document, name, truncate=truncate)


def _names(document: Mapping[str, Any], digests: bool, shows_digest: bool) -> Iterator[tuple[str, str, str]]:
    tags = [_split(text, ":") for text in document.get("RepoTags") or () if text != "<none>:<none>"]
    by_name: dict[str, list[str]] = {}
    for text in document.get("RepoDigests") or ():
        if text != "<none>@<none>":
            repository, digest = _split(text, "@")
            by_name.setdefault(repository, []).append(digest)
    if not tags and not by_name:
        yield "<none>", "<none>", "<none>"
        return
    for repository, tag in tags:
        for digest in (by_name.get(repository) if shows_digest else None) or ["<none>"]:
            yield repository, tag, digest
    tagged = {repository for repository, _ in tags}
    for repository, some in by_name.items():
        if repository not in tagged:
            for digest in some if digests else [""]:
                yield repository, "<none>", digest


def _split(text: str, mark: str) -> tuple[str, str]:
    repository, _, rest = text.rpartition(mark)
    return familiar(repository), rest
