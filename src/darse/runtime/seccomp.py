"""seccomp: docker's profile format turned into the runtime's, for the capabilities that a container has.

The default profile is the one that containers-common maintains. It is read once, and what it comes down to for a set
of capabilities is kept encoded: nearly every container has the default set.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import msgspec

from darse.engine.errors import InvalidParameter, Unavailable

DEFAULT_PROFILE = Path("/usr/share/containers/seccomp.json")
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "x86"}
_SECCOMP_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "armv7l": "SCMP_ARCH_ARM"}


@functools.cache
def _default_document() -> dict[str, Any]:
    try:
        document: dict[str, Any] = msgspec.json.decode(DEFAULT_PROFILE.read_bytes())
    except FileNotFoundError:
        raise Unavailable(
            f"the default seccomp profile {DEFAULT_PROFILE} is missing: install golang-github-containers-common"
        ) from None
    return document


@functools.lru_cache(maxsize=16)
def default_profile(capabilities: frozenset[str]) -> msgspec.Raw:
    """The default profile for a container with `capabilities`, encoded. Raises Unavailable when it is missing."""
    return msgspec.Raw(msgspec.json.encode(_resolved(_default_document(), capabilities)))


def custom_profile(text: str, capabilities: frozenset[str]) -> msgspec.Raw:
    """A profile from outside, in docker's format. Raises InvalidParameter."""
    try:
        document = msgspec.json.decode(text)
        if not isinstance(document, dict) or "defaultAction" not in document:
            raise InvalidParameter("Decoding seccomp profile failed: it has no defaultAction")
        return msgspec.Raw(msgspec.json.encode(_resolved(document, capabilities)))
    except (msgspec.MsgspecError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from error


def _resolved(document: dict[str, Any], capabilities: frozenset[str]) -> dict[str, Any]:
    machine = platform.machine()
    go_architecture = _GO_ARCHITECTURES.get(machine, machine)
    architectures = list(document.get("architectures") or [])
    for entry in document.get("archMap") or []:
        if entry["architecture"] == _SECCOMP_ARCHITECTURES.get(machine):
            architectures = [entry["architecture"], *(entry.get("subArchitectures") or [])]
    resolved: dict[str, Any] = {"defaultAction": document["defaultAction"], "architectures": architectures}
    if document.get("defaultErrnoRet") is not None:
        resolved["defaultErrnoRet"] = document["defaultErrnoRet"]
    resolved["syscalls"] = [
        _rule(rule) for rule in document.get("syscalls") or [] if _applies(rule, capabilities, go_architecture)
    ]
    return resolved


def _applies(rule: dict[str, Any], capabilities: frozenset[str], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if not set(includes.get("caps") or ()) <= capabilities:
        return False
    if set(excludes.get("caps") or ()) & capabilities:
        return False
    kernel = _kernel_version()
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
    resolved: dict[str, Any] = {"names": names, "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        resolved["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        resolved["args"] = [
            {key: argument[key] for key in ("index", "value", "valueTwo", "op") if key in argument}
            for argument in rule["args"]
        ]
    return resolved


@functools.cache
def _kernel_version() -> tuple[int, ...]:
    return _version(platform.release())


def _version(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.split("-", maxsplit=1)[0].split(".")[:2]:
        digits = "".join(character for character in part if character.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers)
