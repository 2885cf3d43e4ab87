"""`--security-opt` is parsed here; which of the kernel's confinements a container gets of it, others choose.

The seccomp profile: `_seccomp` of `darse.runtime.oci.spec`, between the option, `--privileged` and the engine's own
(`seccomp-profile`, read by `darse.engine.engine`). AppArmor: `darse.runtime.apparmor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from darse.core.errors import InvalidParameter

# Go's strconv.ParseBool.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_LABEL = re.compile(r"(disable|(user|role|type|level|filetype):[^\s:]+(:[^\s]+)?|nested)\Z")


class SecurityOptions(msgspec.Struct, frozen=True):
    """`--security-opt`, read. None and "" mean that nothing was said."""

    seccomp: str = ""
    apparmor: str = ""
    no_new_privileges: bool | None = None
    writable_cgroups: bool = False
    unmasked: bool = False
    labels: list[str] = msgspec.field(default_factory=list)


def read_security_options(options: Iterable[str] | None) -> SecurityOptions:
    """Read `--security-opt`. Raises InvalidParameter in docker's words."""
    found: dict[str, Any] = {"labels": []}
    for option in options or ():
        # Both `key=value` and the older `key:value`.
        key, given, value = option.partition("=" if "=" in option else ":")
        if option == "no-new-privileges":
            found["no_new_privileges"] = True
        elif option == "disable":
            found["labels"].append("disable")
        elif not given:
            raise InvalidParameter(f"invalid --security-opt 1: {quoted(option)}")
        elif key in ("no-new-privileges", "writable-cgroups") and value in _BOOLEANS:
            found[key.replace("-", "_")] = _BOOLEANS[value]
        elif key == "label" and _LABEL.match(value):
            found["labels"].append(value)
        elif key in ("seccomp", "apparmor"):
            found[key] = value
        elif key == "systempaths" and value == "unconfined":
            found["unmasked"] = True
        else:
            raise InvalidParameter(f"invalid --security-opt 2: {quoted(option)}")
    return SecurityOptions(**found)


def quoted(text: str) -> str:
    """A string in quotes, as Go's %q prints it."""
    return msgspec.json.encode(text).decode()
