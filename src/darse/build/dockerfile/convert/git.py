"""References to git repositories, as ADD and contexts have them.

https://host/repo.git[#REF[:SUBDIRECTORY]]
https://host/repo.git?ref=…&tag=…&branch=…&subdir=…&checksum=…&keep-git-dir=…&submodules=…
git://…, ssh://…, user@host:path
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec

from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.values import boolean
from darse.build.graph.sources import GitSource
from darse.quoting import quote

_SCP = re.compile(r"[a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:(?!//)(?P<path>[^#?]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?")


class GitReference(msgspec.Struct, kw_only=True):
    """A repository and a part of it."""

    remote: str
    reference: str = ""
    subdirectory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None

    def source(self, *, keep_git_dir: bool | None = None, checksum: str = "") -> GitSource:
        """The source operation, with what an instruction says beside it. Raises DockerfileError."""
        if None not in (keep_git_dir, self.keep_git_dir) and keep_git_dir != self.keep_git_dir:
            raise DockerfileError("inconsistent keep-git-dir configuration")
        if checksum and self.checksum and checksum != self.checksum:
            raise DockerfileError(f"checksum mismatch {quote(checksum)} != {quote(self.checksum)}")
        scheme, _, rest = self.remote.partition("://")
        is_ssh = scheme == "ssh" or not rest
        return GitSource(
            remote=rest or self.remote.replace(":", "/", 1),
            full_url=self.remote,
            reference=self.reference,
            subdirectory=self.subdirectory,
            keep_git_dir=bool(self.keep_git_dir if keep_git_dir is None else keep_git_dir),
            checksum=self.checksum or checksum,
            skip_submodules=self.submodules is False,
            auth_token_secret="" if is_ssh else "GIT_AUTH_TOKEN",
            auth_header_secret="" if is_ssh else "GIT_AUTH_HEADER",
            ssh_socket="default" if is_ssh else "",
        )


def parse_git(text: str) -> GitReference | None:
    """Read a reference; None for what is no repository. Raises DockerfileError for a query that cannot be read."""
    if (match := _SCP.fullmatch(text)) is not None:
        remote = re.split("[?#]", text, maxsplit=1)[0]
        query, fragment = match["query"] or "", match["fragment"] or ""
    else:
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        if parts.scheme not in ("http", "https", "git", "ssh") or not parts.netloc:
            return None
        if parts.scheme.startswith("http") and not parts.path.endswith(".git"):
            return None
        remote = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        query, fragment = parts.query, parts.fragment
    reference, _, subdirectory = fragment.partition(":")
    found = GitReference(remote=remote, reference=reference, subdirectory=subdirectory)
    _read_query(found, query)
    return found


def _read_query(found: GitReference, query: str) -> None:
    values = parse_qs(query, keep_blank_values=True)
    for name, given in values.items():
        if len(given) > 1:
            raise DockerfileError(f"query {quote(name)} has multiple values")
        value = given[0]
        if not value and name not in ("keep-git-dir", "submodules"):
            raise DockerfileError(f"query {quote(name)} has no value")
        match name:
            case "ref":
                _set_reference(found, value)
            case "subdir":
                if found.subdirectory not in ("", value):
                    raise DockerfileError(f"subdir conflicts: {quote(found.subdirectory)} vs {quote(value)}")
                found.subdirectory = value
            case "checksum" | "commit":
                found.checksum = value
            case "keep-git-dir":
                found.keep_git_dir = _switch(name, value)
            case "submodules":
                found.submodules = _switch(name, value)
            case "tag" | "branch":
                if {"tag", "branch"} <= values.keys():
                    raise DockerfileError("branch conflicts with tag")
                prefix = "refs/tags/" if name == "tag" else "refs/heads/"
                _set_reference(found, value if value.startswith(prefix) else prefix + value)
            case _:
                raise DockerfileError(f"unexpected query {quote(name)}")


def _set_reference(found: GitReference, value: str) -> None:
    if found.reference not in ("", value):
        raise DockerfileError(f"ref conflicts: {quote(found.reference)} vs {quote(value)}")
    found.reference = value


def _switch(name: str, value: str) -> bool:
    try:
        return boolean(value) if value else True
    except ValueError:
        raise DockerfileError(f"invalid {name} value: {quote(value)}") from None
