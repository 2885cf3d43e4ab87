"""`--mount` and `-v`, as people write them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from darse.mount_specs import InvalidMount, parse_mount, volumes_and_binds

_BIND = {"Type": "bind", "Source": "/a", "Target": "/x"}
_VOLUME = {"Type": "volume", "Source": "v", "Target": "/x"}
_DRIVER = {"Name": "d", "Options": {"o": "1"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/x", {"Type": "volume", "Target": "/x"}),
        ("source=v,target=/x", _VOLUME),
        ("type=bind,src=/a,dst=/x,ro", {**_BIND, "ReadOnly": True}),
        ("type=bind,src=.,destination=/x", {**_BIND, "Source": os.getcwd()}),
        ("TYPE=Bind,src=/a,dst=/x,readonly=0", {**_BIND, "ReadOnly": False}),
        (
            "type=bind,src=/a,dst=/x,bind-propagation=rslave,bind-recursive=disabled",
            {**_BIND, "BindOptions": {"Propagation": "rslave", "NonRecursive": True}},
        ),
        (
            "src=v,dst=/x,volume-nocopy,volume-subpath=a/b,volume-label=k=v,volume-driver=d,volume-opt=o=1",
            {
                **_VOLUME,
                "VolumeOptions": {"NoCopy": True, "Subpath": "a/b", "Labels": {"k": "v"}, "DriverConfig": _DRIVER},
            },
        ),
        (
            "type=tmpfs,dst=/x,tmpfs-size=64m,tmpfs-mode=1777",
            {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 0o1777}},
        ),
        ('"src=a,b",dst=/x', {**_VOLUME, "Source": "a,b"}),
        (
            "type=image,src=busybox,dst=/x,image-subpath=bin",
            {"Type": "image", "Source": "busybox", "Target": "/x", "ImageOptions": {"Subpath": "bin"}},
        ),
    ],
)
def test_mounts_are_read(text: str, expected: dict[str, Any]) -> None:
    assert parse_mount(text) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "EOF"),
        ("type=bind,src=/a", "target is required"),
        ("type=,dst=/x", "type is required"),
        ("dst=/x,colour=red", "unexpected key 'colour' in 'colour=red'"),
        ("dst=/x,src", "invalid field 'src' must be a key=value pair"),
        ("dst=/x,ro=perhaps", "invalid value for ro: perhaps"),
        ("type=tmpfs,dst=/x,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ("type=tmpfs,dst=/x,tmpfs-mode=888", "invalid value for tmpfs-mode: 888"),
        ("type=tmpfs,dst=/x,tmpfs-mode=", "invalid value for tmpfs-mode: "),
        ("type=bind,src=/a,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=some",
            'invalid value for bind-recursive: some (must be "enabled", "disabled", "writable", or "readonly")',
        ),
        (
            "type=bind,src=/a,dst=/x,bind-recursive=writable",
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
        ),
        (
            "type=bind,src=/a,dst=/x,ro,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
        ),
    ],
)
def test_what_is_no_mount_is_refused_in_dockers_words(text: str, error: str) -> None:
    with pytest.raises(InvalidMount) as failure:
        parse_mount(text)
    assert str(failure.value) == error


def test_volumes_in_their_short_form() -> None:
    volumes, binds = volumes_and_binds(["/anonymous", "name:/x", "/a:/b:ro", "./here:/c"])
    assert volumes == {"/anonymous": {}}
    assert binds == ["name:/x", "/a:/b:ro", f"{os.getcwd()}/here:/c"]


@pytest.mark.parametrize("text", ["a:", ":/x", "a:/b:"])
def test_sections_of_volumes_are_not_empty(text: str) -> None:
    with pytest.raises(InvalidMount, match="empty section between colons"):
        volumes_and_binds([text])


def test_a_volume_is_something() -> None:
    with pytest.raises(InvalidMount, match="invalid empty volume spec"):
        volumes_and_binds([""])
