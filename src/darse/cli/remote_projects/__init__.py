"""Compose files that are not on this machine: of git repositories, and of OCI artifacts in registries.

They are fetched into docker compose's own cache, `docker-compose` in `$XDG_CACHE_HOME` or `~/.cache`: paths of bind
mounts begin there, and so both tools find the same project.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from darse.cli.settings.config import Settings
from darse.compose.errors import ComposeError
from darse.compose.loading.sources import RemoteFile

_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
_OCI = "oci://"


def fetched(settings: Settings, reference: str) -> RemoteFile:
    """Fetch what a reference names, unless it is here. Raises ComposeError."""
    kind = "OCI" if reference.startswith(_OCI) else "GIT"
    if os.environ.get(switch := f"COMPOSE_EXPERIMENTAL_{kind}_REMOTE", "") in _FALSE:
        raise ComposeError(f'{reference}: remote resources of {kind} are disabled by "{switch}"')
    if kind == "OCI":
        from darse.cli.remote_projects import artifacts

        return artifacts.fetched(settings, reference.removeprefix(_OCI))
    from darse.cli.remote_projects import git

    return git.fetched(reference)


def directory_of(name: str) -> str:
    """Where what has this digest or commit is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "docker-compose", name)


@contextlib.contextmanager
def filling(directory: str) -> Iterator[str]:
    """A directory to be filled that is in its place when all of it is there. Raises OSError."""
    os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=os.path.dirname(directory)) as parent:
        new = os.path.join(parent, "files")
        os.mkdir(new, 0o700)
        yield new
        try:
            os.rename(new, directory)
        except OSError:
            if not os.path.isdir(directory):  # else another command has just fetched the same
                raise
