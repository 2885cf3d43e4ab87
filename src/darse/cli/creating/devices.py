"""Devices, and limits that name one."""

from __future__ import annotations

import re
from typing import Any

from darse.cli.creating.values import invalid, size
from darse.cli.errors import CliError
from darse.cli.flags import Options


def is_named_device(text: str) -> bool:
    """Whether a `--device` is a name of the Container Device Interface, `vendor.com/class=name`."""
    return re.match(r"[A-Za-z][\w.-]*/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*\Z", text, re.ASCII) is not None


def device(text: str) -> dict[str, str]:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if target and not mode and not target.startswith("/"):
        target, mode = "", target
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": mode or "rwm"}


def device_requests(options: Options) -> list[dict[str, Any]] | None:
    named = [text for text in options.device if is_named_device(text)]
    requests = [{"Driver": "cdi", "DeviceIDs": named}] if named else []
    return [*requests, *([_gpus(options.gpus)] if options.gpus else ())] or None


def _gpus(text: str) -> dict[str, Any]:
    """`all`, a number, or fields such as `device=0,capabilities=utility`; a field with commas is quoted."""
    import csv

    request: dict[str, Any] = {"Driver": "", "Count": 0, "Capabilities": [["gpu"]]}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            number = value if equals else key
            if number != "all" and not number.isdecimal():
                raise invalid(text, "gpus", f'invalid count ({number}): value must be either "all" or an integer')
            request["Count"] = -1 if number == "all" else int(number)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            request["Capabilities"] = [sorted({*value.split(","), "gpu"})]
        elif key == "options":
            request["Options"] = dict(option.partition("=")[::2] for option in value.split(","))
        else:
            raise invalid(text, "gpus", f"unexpected key '{key}' in '{field}'")
    if request["Count"] == 0 and "DeviceIDs" not in request:
        request["Count"] = 1
    return request


def weight(text: str) -> dict[str, Any]:
    path, _, weight = text.rpartition(":")
    if not path.startswith("/dev/") or not weight.isdecimal():
        raise CliError(f"bad format: {text}", 125)
    return {"Path": path, "Weight": int(weight)}


def rate(text: str) -> dict[str, Any]:
    path, _, rate = text.rpartition(":")
    if not path.startswith("/dev/"):
        raise CliError(f"bad format for device path: {text}", 125)
    return {"Path": path, "Rate": size(rate, "device")}
