"""Small Dockerfiles with what must come of them: the rows of the conformance tests of builds, and how one is run."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.support.http import ApiClient, Response

#: A file of a context: its content, or (content, mode), or a link's target behind `->`, or a directory behind `/`.
ContextFile = str | bytes | tuple[str, int]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One Dockerfile.

    config: members of the image's Config; None stands for one that is empty or not there.
    tree: files by path: `MODE UID:GID CONTENT` of a file, `MODE UID:GID /` of a directory, `-> TARGET` of a link; None
    for one that must not be there. exact: whether there may be no others.
    output: what must be in the output, in this order. error: what the error must say.
    history: the ends of the `created_by` of the last instructions.
    """

    name: str
    dockerfile: str
    context: Mapping[str, ContextFile] = {}
    options: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}
    tree: Mapping[str, str | None] = {}
    exact: bool = False
    output: tuple[str, ...] = ()
    error: str = ""
    history: tuple[str, ...] = ()
    layers: int | None = None
    """Above those of the base, where the base is the built-in one."""


class Built(msgspec.Struct, frozen=True):
    """What a build said, and the image's id."""

    output: str
    image: str
    error: str


def context_archive(dockerfile: str, files: Mapping[str, ContextFile]) -> bytes:
    """The context as clients send it; its owner is not root, to show that this makes no difference."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, given in {"Dockerfile": dockerfile, **files}.items():
            content, mode = given if isinstance(given, tuple) else (given, 0o644)
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.uid = entry.gid = 1234
            entry.mtime = 1_000_000_000
            entry.mode = mode
            data = content if isinstance(content, bytes) else content.encode()
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, mode if isinstance(given, tuple) else 0o755
            elif data.startswith(b"->"):
                entry.type, entry.linkname = tarfile.SYMTYPE, data[2:].decode()
            else:
                entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
    return buffer.getvalue()


def build(api: ApiClient, case: Case) -> Built:
    """Build a case by `POST /build`."""
    archive = context_archive(case.dockerfile, case.context)
    answer = api("POST", "/build", archive, query=dict(case.options), headers={"Content-Type": "application/x-tar"})
    return read(answer)


def read(answer: Response) -> Built:
    """What `POST /build` answered."""
    if answer.status != 200:
        return Built("", "", answer.message)
    messages = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
    output = "".join(message.get("stream", "") for message in messages)
    image = next((message["aux"]["ID"] for message in messages if "aux" in message), "")
    return Built(output, image, next((message["error"] for message in messages if "error" in message), ""))


def tree_of(api: ApiClient, image: str) -> dict[str, str]:
    """All files of an image, in the form of the cases."""
    made = api("POST", "/containers/create", {"Image": image, "Cmd": ["x"]}).json()["Id"]
    try:
        exported = api("GET", f"/containers/{made}/export").body
    finally:
        api("DELETE", f"/containers/{made}?v=1")
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        for entry in tar:
            path = "/" + entry.name.strip("./")
            if entry.issym():
                found[path] = f"-> {entry.linkname}"
                continue
            file = tar.extractfile(entry) if entry.isreg() or entry.islnk() else None
            content = file.read().decode(errors="replace") if file is not None else "/" if entry.isdir() else "?"
            found[path] = f"{entry.mode:o} {entry.uid}:{entry.gid} {content}"
    return found


def check(api: ApiClient, case: Case) -> None:
    """Build a case and hold what came of it against what must. Raises AssertionError."""
    built = build(api, case)
    if case.error:
        assert case.error in built.error, built
        return
    assert not built.error, built.error + "\n" + built.output
    position = 0
    for text in case.output:
        position = built.output.find(text, position)
        assert position >= 0, (text, built.output)
    document = api("GET", f"/images/{built.image}/json").json()
    for member, expected in case.config.items():
        found = document["Config"].get(member)
        assert (found or None) == expected, (member, found)
    if case.layers is not None:
        base = api("GET", "/images/builtin/busybox/json").json()
        assert len(document["RootFS"]["Layers"]) - len(base["RootFS"]["Layers"]) == case.layers
    if case.history:
        lines = [line["CreatedBy"] for line in api("GET", f"/images/{built.image}/history").json()]
        for line, expected in zip(reversed(lines[: len(case.history)]), case.history, strict=True):
            assert line.endswith(expected), lines
    if case.tree:
        _check_tree(tree_of(api, built.image), case)


def _check_tree(found: Mapping[str, str], case: Case) -> None:
    for path, expected in case.tree.items():
        assert found.get(path) == expected, (path, found.get(path), sorted(found)[:50])
    if case.exact:
        # What every container has.
        own = {"/", "/dev", "/etc", "/proc", "/sys", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
        assert set(found) - own - {"/etc/mtab", "/dev/pts", "/dev/shm", "/.dockerenv"} == set(case.tree)
