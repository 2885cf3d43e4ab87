"""Devices, and limits that name one."""

from __future__ import annotations

import posixpath

from darse.cli.command_line.flags import Options
from darse.cli.errors import CliError, InvalidArgument
from darse.units import InvalidSize, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.host_config import (
        DeviceMappingDocument,
        DeviceRequestDocument,
        ThrottleDeviceDocument,
        WeightDeviceDocument,
    )

_RULE = r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}"


def is_named_device(text: str) -> bool:
    """Whether a `--device` is a name of the Container Device Interface, `vendor.com/class=name`."""
    import re

    return re.match(r"[A-Za-z][\w.-]*/[A-Za-z][\w-]*=[A-Za-z0-9][\w.:-]*\Z", text, re.ASCII) is not None


def device(text: str) -> DeviceMappingDocument:
    """One `--device`: `source[:destination[:mode]]`. Raises CliError."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise CliError(f"bad format for path: {text}", 125)
    source, target, mode = parts[0], parts[0], "rwm"
    if len(parts) == 2 and _is_mode(parts[1]):
        mode = parts[1]
    elif len(parts) >= 2:
        target = parts[1]
    if len(parts) == 3:
        mode = parts[2]
        if not _is_mode(mode):
            raise CliError(f"bad mode specified: {mode}", 125)
    if not target.startswith("/"):
        raise CliError(f"{target} is not an absolute path", 125)
    if len(parts) < 3:
        target = posixpath.normpath(target)
        source = target if len(parts) == 1 else source
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}


def _is_mode(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")


def rules(entries: list[str]) -> list[str]:
    """`--device-cgroup-rule`s. Raises InvalidArgument."""
    for text in entries:
        if not _is_rule(text):
            raise InvalidArgument(text, "device-cgroup-rule", f"invalid device cgroup format '{text}'")
    return entries


def _is_rule(text: str) -> bool:
    import re

    return re.fullmatch(_RULE, text) is not None


def device_requests(options: Options) -> list[DeviceRequestDocument] | None:
    """Devices by name, and `--gpus`. Raises InvalidArgument."""
    named = [text for text in options.device if is_named_device(text)]
    requests: list[DeviceRequestDocument] = [{"Driver": "cdi", "DeviceIDs": named}] if named else []
    return [*requests, *([_gpus(options.gpus)] if options.gpus else ())] or None


def _gpus(text: str) -> DeviceRequestDocument:
    """`all`, a number, or fields such as `device=0,capabilities=utility`; a field with commas is quoted."""
    import csv

    request: DeviceRequestDocument = {"Driver": "", "Count": 0, "Capabilities": [["gpu"]]}
    for field in next(csv.reader([text])):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            number = value if equals else key
            if number != "all" and not number.isdecimal():
                reason = f'invalid count ({number}): value must be either "all" or an integer: invalid syntax'
                raise InvalidArgument(text, "gpus", reason)
            request["Count"] = -1 if number == "all" else int(number)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            request["Capabilities"] = [list(dict.fromkeys([*value.split(","), "gpu"]))]
        elif key == "options":
            request["Options"] = dict(option.partition("=")[::2] for option in value.split(","))
        else:
            raise InvalidArgument(text, "gpus", f"unexpected key '{key}' in '{field}'")
    if request["Count"] == 0 and "DeviceIDs" not in request:
        request["Count"] = 1
    return request


def weights(options: Options) -> list[WeightDeviceDocument]:
    """`--blkio-weight-device`s. Raises InvalidArgument."""
    found: list[WeightDeviceDocument] = []
    for text in options.blkio_weight_device:
        path, weight = _of_device(text, "blkio-weight-device")
        if not weight.isdecimal() or not (int(weight) == 0 or 10 <= int(weight) <= 1000):
            raise InvalidArgument(text, "blkio-weight-device", f"invalid weight for device: {text}")
        found.append({"Path": path, "Weight": int(weight)})
    return found


def rates(options: Options, flag: str) -> list[ThrottleDeviceDocument]:
    """The rates that one of the flags `--device-…-bps` and `--device-…-iops` gives. Raises InvalidArgument."""
    found: list[ThrottleDeviceDocument] = []
    for text in getattr(options, flag.replace("-", "_")):
        path, word = _of_device(text, flag)
        if flag.endswith("iops"):
            rate = int(word) if word.isdecimal() else None
            form, units = "<number>", ""
        else:
            rate = _size(word)
            form, units = "<number>[<unit>]", ". Unit is optional and can be kb, mb, or gb"
        if rate is None:
            reason = f"invalid rate for device: {text}. The correct format is <device-path>:{form}. Number must be a "
            raise InvalidArgument(text, flag, f"{reason}positive integer{units}")
        found.append({"Path": path, "Rate": rate})
    return found


def _of_device(text: str, flag: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not path or not colon:
        raise InvalidArgument(text, flag, f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidArgument(text, flag, f"bad format for device path: {text}")
    return path, value


def _size(text: str) -> int | None:
    try:
        return parse_size(text)
    except InvalidSize:
        return None
