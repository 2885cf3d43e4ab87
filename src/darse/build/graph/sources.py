"""Where trees come from: sources as typed structs, and as LLB writes them, an identifier with attributes.

LLB's form is a URL (`docker-image://…`) and a map of strings (`solver/pb/attr.go`); `parse_source` reads it,
`source_identifier` and `source_attributes` write it. Attributes that this version does not know are refused: a source
that ignored one would fetch something else than was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from darse.build.errors import InvalidGraph


class ImageSource(msgspec.Struct, frozen=True, omit_defaults=True, tag="image", kw_only=True):
    """An image of a registry, or of this engine."""

    reference: str
    """Normalized, with a tag or a digest."""
    resolve_mode: str = "default"
    """`default`, `pull` (ask the registry whatever is here) or `local` (ask it only when nothing is here)."""
    record_type: str = ""
    """`internal`, or `frontend` for an image that is a front end."""
    layer_limit: int = 0
    """Take only so many of the lowest layers; 0 is all."""
    checksum: str = ""
    """The digest that the manifest must have."""


class LocalSource(msgspec.Struct, frozen=True, omit_defaults=True, tag="local", kw_only=True):
    """A directory of the client."""

    name: str
    session: str = ""
    unique: str = ""
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    follow_paths: tuple[str, ...] = ()
    """Paths whose symbolic links are followed, so that what they point at is sent, too."""
    shared_key_hint: str = ""
    """Which directory it is from one build to the next: what was sent before is not sent again."""
    differ: str = "metadata"
    """How a changed file is known: by its `metadata`, or `none` (all are sent)."""
    metadata_only: bool = False
    metadata_only_exceptions: tuple[str, ...] = ()


class GitSource(msgspec.Struct, frozen=True, omit_defaults=True, tag="git", kw_only=True):
    """A commit of a repository."""

    remote: str
    """Without its protocol, as in the identifier; `full_url` is what git is given."""
    reference: str = ""
    subdirectory: str = ""
    full_url: str = ""
    keep_git_dir: bool = False
    checksum: str = ""
    """The commit, or the beginning of its name, that `reference` must be."""
    skip_submodules: bool = False
    auth_token_secret: str = ""
    auth_header_secret: str = ""
    known_ssh_hosts: str = ""
    ssh_socket: str = ""
    """The id of the agent that is forwarded."""


class HTTPSource(msgspec.Struct, frozen=True, omit_defaults=True, tag="http", kw_only=True):
    """One file, downloaded."""

    url: str
    checksum: str = ""
    filename: str = ""
    permissions: int | None = None
    """Bits of the mode; None is 0600."""
    uid: int = 0
    gid: int = 0
    auth_header_secret: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Names in small letters, sorted."""


class OCILayoutSource(msgspec.Struct, frozen=True, omit_defaults=True, tag="oci-layout", kw_only=True):
    """An image of the client's image layout; its reference has a digest."""

    reference: str
    session: str = ""
    store: str = ""
    layer_limit: int = 0


SourceOperation: TypeAlias = ImageSource | LocalSource | GitSource | HTTPSource | OCILayoutSource

_Attributes = Mapping[str, str]
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def _boolean(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is not a boolean")
    return text in _TRUE


def _texts(text: str) -> tuple[str, ...]:
    found = json.loads(text) if text else []
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("not a list of strings")
    return tuple(found)


def _octal(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text, 8) if text.startswith("0") else int(text)


def _layer_limit(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError(f"must be at least 1, not {number}")
    return number


def _resolve_mode(text: str) -> str:
    if text not in ("", "default", "pull", "local"):
        raise ValueError(f"{text!r} is none of default, pull, local")
    return text or "default"


_Readers = dict[str, tuple[str, Callable[[str], Any]]]

# attribute -> field, and how its text is read
_IMAGE: _Readers = {
    "image.resolvemode": ("resolve_mode", _resolve_mode),
    "image.recordtype": ("record_type", str),
    "image.layerlimit": ("layer_limit", _layer_limit),
    "image.checksum": ("checksum", str),
}
_LOCAL: _Readers = {
    "local.session": ("session", str),
    "local.unique": ("unique", str),
    "local.includepattern": ("include_patterns", _texts),
    "local.excludepatterns": ("exclude_patterns", _texts),
    "local.followpaths": ("follow_paths", _texts),
    "local.sharedkeyhint": ("shared_key_hint", str),
    "local.differ": ("differ", str),
    "local.metadatatransfer": ("metadata_only", _boolean),
    "local.metadatatransferexclude": ("metadata_only_exceptions", _texts),
}
_GIT: _Readers = {
    "git.fullurl": ("full_url", str),
    "git.keepgitdir": ("keep_git_dir", _boolean),
    "git.checksum": ("checksum", str),
    "git.skipsubmodules": ("skip_submodules", _boolean),
    "git.authtokensecret": ("auth_token_secret", str),
    "git.authheadersecret": ("auth_header_secret", str),
    "git.knownsshhosts": ("known_ssh_hosts", str),
    "git.mountsshsock": ("ssh_socket", str),
}
_HTTP: _Readers = {
    "http.checksum": ("checksum", str),
    "http.filename": ("filename", str),
    "http.perm": ("permissions", _octal),
    "http.uid": ("uid", int),
    "http.gid": ("gid", int),
    "http.authheadersecret": ("auth_header_secret", str),
}
_LAYOUT: _Readers = {
    "oci.session": ("session", str),
    "oci.store": ("store", str),
    "oci.layerlimit": ("layer_limit", _layer_limit),
}
_HEADER = "http.header."


def parse_source(identifier: str, attributes: _Attributes) -> SourceOperation:
    """Read a source as LLB writes it. Raises InvalidGraph."""
    scheme, separator, rest = identifier.partition("://")
    if not separator or not rest:
        raise InvalidGraph(f"invalid source {identifier!r}: must be scheme://name")
    match scheme:
        case "docker-image":
            return ImageSource(reference=rest, **_read(identifier, attributes, _IMAGE))
        case "local":
            return LocalSource(name=rest, **_read(identifier, attributes, _LOCAL))
        case "git":
            remote, _, fragment = rest.partition("#")
            reference, _, subdirectory = fragment.partition(":")
            fields = _read(identifier, attributes, _GIT)
            return GitSource(remote=remote, reference=reference, subdirectory=subdirectory, **fields)
        case "http" | "https":
            headers = tuple(
                sorted((name[len(_HEADER) :], value) for name, value in attributes.items() if name.startswith(_HEADER))
            )
            others = {name: value for name, value in attributes.items() if not name.startswith(_HEADER)}
            return HTTPSource(url=identifier, headers=headers, **_read(identifier, others, _HTTP))
        case "oci-layout":
            return OCILayoutSource(reference=rest, **_read(identifier, attributes, _LAYOUT))
    raise InvalidGraph(f"unsupported scheme {scheme!r} of source {identifier!r}")


def source_identifier(source: SourceOperation) -> str:
    """The URL of a source in LLB."""
    match source:
        case ImageSource():
            return f"docker-image://{source.reference}"
        case LocalSource():
            return f"local://{source.name}"
        case GitSource():
            fragment = source.reference + (f":{source.subdirectory}" if source.subdirectory else "")
            return f"git://{source.remote}" + (f"#{fragment}" if fragment else "")
        case HTTPSource():
            return source.url
        case OCILayoutSource():
            return f"oci-layout://{source.reference}"


def source_attributes(source: SourceOperation) -> dict[str, str]:
    """The attributes of a source in LLB: those that are not at their defaults."""
    match source:
        case ImageSource():
            return _written(source, _IMAGE)
        case LocalSource():
            return _written(source, _LOCAL)
        case GitSource():
            return _written(source, _GIT)
        case HTTPSource():
            return _written(source, _HTTP) | {f"{_HEADER}{name}": value for name, value in source.headers}
        case OCILayoutSource():
            return _written(source, _LAYOUT)


def _read(identifier: str, attributes: _Attributes, readers: _Readers) -> dict[str, Any]:
    fields = {}
    for name, text in attributes.items():
        if name not in readers:
            raise InvalidGraph(f"unsupported attribute {name} of source {identifier!r}")
        field, read = readers[name]
        try:
            fields[field] = read(text)
        except (ValueError, RecursionError) as error:
            raise InvalidGraph(f"invalid attribute {name} of source {identifier!r}: {error}") from error
    return fields


def _written(source: SourceOperation, readers: _Readers) -> dict[str, str]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(source))}
    attributes = {}
    for name, (field, _) in readers.items():
        value = getattr(source, field)
        if value == defaults[field]:
            continue
        if isinstance(value, bool):
            attributes[name] = "true" if value else "false"
        elif isinstance(value, tuple):
            attributes[name] = json.dumps(list(value))
        elif field == "permissions":
            attributes[name] = f"0{value:o}"
        else:
            attributes[name] = str(value)
    return attributes
