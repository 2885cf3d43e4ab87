"""A compose file of a git repository: `https://host/repository.git#REF:PATH`, by the `git` program."""

from __future__ import annotations

import os
import re
import subprocess

from darse.build.dockerfile.convert.git import GitReference, parse_git
from darse.build.dockerfile.errors import DockerfileError
from darse.cli.remote_projects import directory_of, filling
from darse.compose.errors import ComposeError
from darse.compose.loading.sources import RemoteFile
from darse.compose.project import FILES

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_GITHUB = "github.com/"
_NO_SUCH_REFERENCE = 2


def fetched(text: str) -> RemoteFile:
    """Fetch one commit of a repository, unless it is here. Raises ComposeError."""
    reference = _parsed(text)
    commit = reference.reference or "HEAD"
    try:
        if not _COMMIT.match(commit):
            commit = _commit(text, reference.remote, commit)
        root = directory_of(commit)
        if not os.path.isdir(root):
            _check_out(reference.remote, commit, root)
    except FileNotFoundError as error:
        raise ComposeError(f"{text}: the program `git` is not installed") from error
    except OSError as error:
        raise ComposeError(f"{text}: {error.strerror or error}: {error.filename}") from error
    return RemoteFile(_file(text, root, reference.subdirectory), root)


def _parsed(text: str) -> GitReference:
    try:
        found = parse_git(f"https://{text}" if text.startswith(_GITHUB) else text)
    except DockerfileError as error:
        raise ComposeError(f"{text}: {error}") from error
    if found is None or found.reference.startswith("-"):
        raise ComposeError(f"{text}: this is no reference to a git repository")
    return found


def _file(text: str, root: str, inside: str) -> str:
    """The file of a checkout that is meant: it is in the checkout, whatever links are there."""
    path = os.path.realpath(os.path.join(root, inside))
    if os.path.isabs(inside) or os.path.commonpath([path, os.path.realpath(root)]) != os.path.realpath(root):
        raise ComposeError(f"git subdirectory path traversal detected: {inside}")
    if os.path.isdir(path):
        candidates = [os.path.join(path, name) for name in FILES]
        path = next((one for one in candidates if os.path.isfile(one)), path)
    if not os.path.isfile(path):
        raise ComposeError(f"{text}: not found")
    return os.path.join(root, os.path.relpath(path, os.path.realpath(root)))


def _commit(text: str, remote: str, reference: str) -> str:
    """The commit of a branch, a tag, or HEAD. Raises ComposeError."""
    done = _git("ls-remote", "--exit-code", "--", remote, reference)
    if done.returncode == _NO_SUCH_REFERENCE:
        raise ComposeError(f"repository does not contain ref {text}")
    if done.returncode:
        raise ComposeError(f"failed to access repository at {remote}:\n {done.stderr.strip()}")
    # The pattern matches the end of each name: `main` is also that of `refs/heads/feature/main`.
    listed = {name: commit for commit, _, name in (line.partition("\t") for line in done.stdout.splitlines())}
    for name in (reference, f"refs/{reference}", f"refs/tags/{reference}", f"refs/heads/{reference}"):
        if _COMMIT.match(listed.get(name, "")):
            return listed[name]
    raise ComposeError(f"repository does not contain ref {text}")


def _check_out(remote: str, commit: str, root: str) -> None:
    with filling(root) as directory:
        for words in (
            ("init", "--quiet"),
            ("remote", "add", "--", "origin", remote),
            ("fetch", "--quiet", "--depth=1", "origin", commit),
            ("checkout", "--quiet", "--detach", commit),
        ):
            done = _git("-C", directory, *words)
            if done.returncode:
                raise ComposeError(f"failed to access repository at {remote}:\n {done.stderr.strip()}")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    """Run git, which asks nobody for a password unless configured so. Raises OSError."""
    environment = {"GIT_TERMINAL_PROMPT": "0", **os.environ}
    if not environment.get("GIT_SSH") and not environment.get("GIT_SSH_COMMAND"):
        environment["GIT_SSH_COMMAND"] = "ssh -o ControlMaster=no -o BatchMode=yes"
    return subprocess.run(["git", *words], env=environment, capture_output=True, text=True, check=False)
