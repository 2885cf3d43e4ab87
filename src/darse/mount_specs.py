"""Mounts as people write them: `--mount type=…,target=…`, and the short form of `-v`. A leaf: it knows no engine.

The result has the API's members. Texts are those of docker's command line.
"""

from __future__ import annotations

import os

from darse.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
_RECURSIVE: dict[str, str | None] = {
    "enabled": None,
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}


class InvalidMount(ValueError):
    """A text that describes no mount."""


def volumes_and_binds(entries: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`-v`: a bare path is an anonymous volume, the rest are binds, of which relative paths become absolute.

    Raises InvalidMount.
    """
    volumes: dict[str, Any] = {}
    binds = []
    for entry in entries:
        if not entry:
            raise InvalidMount("invalid empty volume spec")
        source, separator, rest = entry.partition(":")
        if not separator:
            volumes[entry] = {}
            continue
        if not all(entry.split(":")):
            raise InvalidMount(f"invalid spec: {entry}: empty section between colons")
        if source.startswith("."):
            source = os.path.abspath(source)
        binds.append(f"{source}:{rest}")
    return volumes, binds


def parse_mount(text: str) -> dict[str, Any]:
    """One `--mount type=…,source=…,target=…`. Raises InvalidMount."""
    import csv  # noqa: PLC0415 - few commands have such a flag

    mount = _Mount(text)
    for field in next(csv.reader([text]), ()):
        mount.read(field)
    return mount.checked()


class _Mount:
    """A `--mount` while it is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._mount: dict[str, Any] = {"Type": "volume"}
        self._options: dict[str, dict[str, Any]] = {"volume": {}, "image": {}, "bind": {}, "tmpfs": {}}

    def _switch(self, key: str, value: str) -> bool:
        if value not in (*_TRUE, *_FALSE):
            raise InvalidMount(f"invalid value for {key}: {value}")
        return value in _TRUE

    def read(self, field: str) -> None:
        """Take in one `key=value`."""
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
                raise InvalidMount(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        if key == "type":
            self._mount["Type"] = value.lower()
        elif key in ("source", "src"):
            self._mount["Source"] = os.path.abspath(value) if value == "." or value.startswith("./") else value
        elif key in ("target", "dst", "destination"):
            self._mount["Target"] = value
        elif key in ("readonly", "ro"):
            self._mount["ReadOnly"] = self._switch(key, value)
        elif key == "consistency":
            self._mount["Consistency"] = value.lower()
        elif not self._read_option(key, value):
            raise InvalidMount(f"unexpected key '{key}' in '{field}'")

    def _read_option(self, key: str, value: str) -> bool:
        kind, _, name = key.partition("-")
        options = self._options.get(kind, {})
        if key == "bind-propagation":
            options["Propagation"] = value.lower()
        elif key == "bind-nonrecursive":
            options["NonRecursive"] = self._switch(key, value)
        elif key == "bind-recursive":
            if value not in _RECURSIVE:
                choice = '"enabled", "disabled", "writable", or "readonly"'
                raise InvalidMount(f"invalid value for {key}: {value} (must be {choice})")
            if (member := _RECURSIVE[value]) is not None:
                options[member] = True
        elif key == "volume-nocopy":
            options["NoCopy"] = self._switch(key, value)
        elif key in ("volume-subpath", "image-subpath"):
            options["Subpath"] = value
        elif key == "volume-label":
            options.setdefault("Labels", {}).update([value.partition("=")[::2]])
        elif key == "volume-driver":
            options.setdefault("DriverConfig", {})["Name"] = value
        elif key == "volume-opt":
            options.setdefault("DriverConfig", {}).setdefault("Options", {}).update([value.partition("=")[::2]])
        elif key in ("tmpfs-size", "tmpfs-mode"):
            options["SizeBytes" if name == "size" else "Mode"] = self._amount(key, value)
        else:
            return False
        return True

    def _amount(self, key: str, value: str) -> int:
        try:
            return parse_size(value) if key == "tmpfs-size" else _mode(value)
        except ValueError:
            raise InvalidMount(f"invalid value for {key}: {value}") from None

    def checked(self) -> dict[str, Any]:
        """The mount as the API has it."""
        mount, bind = self._mount, self._options["bind"]
        if not self._text:
            raise InvalidMount("EOF")
        if not mount["Type"]:
            raise InvalidMount("type is required")
        if not mount.get("Target"):
            raise InvalidMount("target is required")
        for kind, options in self._options.items():
            if options and kind != mount["Type"]:
                raise InvalidMount(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
        for value, member in (("writable", "ReadOnlyNonRecursive"), ("readonly", "ReadOnlyForceRecursive")):
            if bind.get(member) and not mount.get("ReadOnly"):
                raise InvalidMount(
                    f"option 'bind-recursive={value}' requires 'readonly' to be specified in conjunction"
                )
        if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
            raise InvalidMount(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )
        return mount | {f"{kind.title()}Options": options for kind, options in self._options.items() if options}


def _mode(text: str) -> int:
    if not text or set(text) - set("01234567"):
        raise ValueError(text)
    return int(text, 8)
