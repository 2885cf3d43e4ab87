"""`-v` and `--mount`."""

from __future__ import annotations

import os
from typing import Any

from darse.cli.creating.values import invalid, size
from darse.cli.errors import CliError


def volumes_and_binds(entries: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`-v`: a bare path is an anonymous volume, the rest are binds; relative paths become absolute, as in docker."""
    volumes: dict[str, Any] = {}
    binds = []
    for entry in entries:
        source, separator, rest = entry.partition(":")
        if not separator:
            if not entry.startswith("/"):
                raise CliError(f"invalid volume specification: '{entry}': mount path must be absolute", 125)
            volumes[entry] = {}
            continue
        if source.startswith((".", "~")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(f"{source}:{rest}")
    return volumes, binds


def mount_spec(text: str) -> dict[str, Any]:
    """One `--mount type=…,source=…,target=…`. Raises CliError."""
    import csv

    mount: dict[str, Any] = {"Type": "volume"}
    bind: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    image: dict[str, Any] = {}
    tmpfs: dict[str, Any] = {}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        key = key.lower()
        on = value.lower() in ("", "1", "true")
        if key == "type":
            mount["Type"] = value.lower()
        elif key in ("source", "src"):
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
        elif key in ("target", "dst", "destination"):
            mount["Target"] = value
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = on
        elif key == "consistency":
            mount["Consistency"] = value
        elif key == "bind-propagation":
            bind["Propagation"] = value
        elif key == "bind-nonrecursive":
            bind["NonRecursive"] = on
        elif key == "bind-recursive":
            bind |= {"disabled": {"NonRecursive": True}, "readonly": {"ReadOnlyForceRecursive": True}}.get(value, {})
        elif key == "volume-nocopy":
            volume["NoCopy"] = on
        elif key == "volume-subpath":
            volume["Subpath"] = value
        elif key == "volume-label":
            volume.setdefault("Labels", {}).update([value.partition("=")[::2]])
        elif key == "volume-driver":
            volume.setdefault("DriverConfig", {})["Name"] = value
        elif key == "volume-opt":
            volume.setdefault("DriverConfig", {}).setdefault("Options", {}).update([value.partition("=")[::2]])
        elif key == "image-subpath":
            image["Subpath"] = value
        elif key == "tmpfs-size":
            tmpfs["SizeBytes"] = size(value, "mount")
        elif key == "tmpfs-mode":
            tmpfs["Mode"] = int(value, 8)
        elif not equals:
            raise invalid(text, "mount", f"invalid field '{field}' must be a key=value pair")
        else:
            raise invalid(text, "mount", f"unexpected key '{key}' in '{field}'")
    if "Target" not in mount:
        raise invalid(text, "mount", "target is required")
    options = {"BindOptions": bind, "VolumeOptions": volume, "ImageOptions": image, "TmpfsOptions": tmpfs}
    return mount | {name: chosen for name, chosen in options.items() if chosen}
