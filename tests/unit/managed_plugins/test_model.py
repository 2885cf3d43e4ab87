"""What configs of plugins mean."""

from __future__ import annotations

import json

import pytest

from darse.core.errors import InvalidParameter
from darse.managed_plugins.model import (
    changed,
    check_granted,
    default_settings,
    implements,
    kept,
    privileges,
    read_config,
)

# As sshfs' is, whose members are written as Go's encoder and as people write them.
CONFIG = {
    "description": "sshFS plugin for Docker",
    "Interface": {"types": ["docker.volumedriver/1.0", "docker.authz/1.0"], "socket": "sshfs.sock"},
    "entrypoint": ["/docker-volume-sshfs"],
    "workdir": "",
    "network": {"type": "host"},
    "linux": {
        "capabilities": ["CAP_SYS_ADMIN"],
        "AllowAllDevices": False,
        "devices": [{"name": "fuse", "path": "/dev/fuse", "settable": ["path"]}],
    },
    "propagatedMount": "/mnt/volumes",
    "ipcHost": True,
    "mounts": [
        {"name": "keys", "source": "", "destination": "/root/.ssh", "type": "bind", "settable": ["source"]},
        {"source": "/var/lib", "destination": "/state", "type": "bind", "options": ["rbind"]},
    ],
    "env": [
        {"name": "DEBUG", "settable": ["value"], "value": "0"},
        {"name": "FIXED", "value": "1"},
        {"name": "UNSET", "settable": ["value"]},
    ],
    "args": {"name": "args", "settable": ["value"], "value": ["-x"]},
    "unknown": {"is": "passed over"},
}
READ = read_config(json.dumps(CONFIG).encode())


def test_a_config_is_read_whatever_the_case_of_its_names() -> None:
    assert READ.Interface.Socket == "sshfs.sock"
    assert implements(READ) == ["VolumeDriver", "authz"]
    assert READ.PropagatedMount == "/mnt/volumes"
    for broken in (b"", b"[]", b'{"entrypoint": 1}', b"[" * 100_000):
        with pytest.raises(InvalidParameter, match="invalid plugin config"):
            read_config(broken)


def test_privileges_and_whether_they_were_granted() -> None:
    found = privileges(READ)
    assert [(one.Name, one.Value) for one in found] == [
        ("network", ["host"]),
        ("host ipc namespace", ["true"]),
        ("mount", [""]),
        ("mount", ["/var/lib"]),
        ("device", ["/dev/fuse"]),
        ("capabilities", ["CAP_SYS_ADMIN"]),
    ]
    check_granted(READ, list(reversed(found)))
    for granted in ([], found[1:], [*found, found[0]]):
        with pytest.raises(InvalidParameter, match="incorrect privileges"):
            check_granted(READ, granted)


def test_settings() -> None:
    settings = default_settings(READ)
    assert settings.Env == ["DEBUG=0", "FIXED=1"]
    new = changed(READ, settings, ["DEBUG=1", "UNSET=a=b", "keys.source=/root", "fuse=/dev/x", "args=-y -z"])
    assert new.Env == ["DEBUG=1", "FIXED=1", "UNSET=a=b"]
    assert (new.Mounts[0].Source, new.Devices[0].Path, new.Args) == ("/root", "/dev/x", ["-y", "-z"])
    assert settings.Mounts[0].Source == "", "the former ones are as they were"
    assert kept(READ, new) == new
    assert changed(READ, settings, ["DEBUG"]).Env == ["DEBUG=", "FIXED=1"]
    for word in ("FIXED=2", "NONE=1", "", ".value", "DEBUG.name=x", "keys.type=tmpfs", "=x"):
        with pytest.raises(InvalidParameter):
            changed(READ, settings, [word])
