"""`RUN --mount` and `--device`."""

from __future__ import annotations

import msgspec
import pytest

from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.mounts import RunDevice, RunMount, parse_device, parse_mount, source_stage


def _expand(text: str) -> str:
    return text.replace("$x", "X")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("target=/a", {"kind": "bind", "target": "/a", "read_only": True}),
        (
            "type=bind,from=s,source=a$x,dst=/a,rw",
            {"source_stage": "s", "source": "aX", "target": "/a", "read_only": False},
        ),
        (
            "TYPE=Cache,destination=/a,id=i$x,sharing=LOCKED",
            {"kind": "cache", "id": "iX", "sharing": "locked", "read_only": False},
        ),
        ("type=cache,target=/a,ro", {"kind": "cache", "read_only": True}),
        ("type=cache,target=/a,readonly=false", {"read_only": False}),
        ("type=cache,target=/a,readwrite=0", {"read_only": True}),
        ("type=cache,target=/a,mode=0755,uid=1,gid=2", {"mode": 0o755, "uid": 1, "gid": 2}),
        ("type=tmpfs,target=/a,size=64m", {"kind": "tmpfs", "size": 64 << 20, "read_only": False}),
        ("type=tmpfs,target=/a,size=1.5KiB", {"size": 1536}),
        ("type=secret,id=a,required", {"kind": "secret", "id": "a", "required": True}),
        ("type=secret,id=a,required=false,env=B", {"required": False, "env": "B"}),
        ("type=ssh", {"kind": "ssh", "required": False}),
        ('type=bind,"source=a,b",target=/a', {"source": "a,b"}),
        ('type=bind,"source=a""b",target=/a', {"source": 'a"b'}),
    ],
)
def test_mounts(text: str, fields: dict[str, object]) -> None:
    found = msgspec.structs.asdict(parse_mount(text, _expand))
    assert {name: found[name] for name in fields} == fields
    assert type(parse_mount(text, _expand)) is RunMount


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("type=bnd", 'unsupported mount type "bnd" (did you mean bind?)'),
        ("type=cache,sharing=lock", 'unsupported sharing value "lock" (did you mean locked?)'),
        ("targt=/a", "unexpected key 'targt' in 'targt=/a' (did you mean target?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("ro=maybe", "invalid value for ro: maybe"),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,uid=-1", "invalid value -1 for uid"),
        ("type=cache,gid=4294967296", "invalid value 4294967296 for gid"),
        ("type=bind,mode=1", 'mode not allowed for "bind" type mounts'),
        ("type=tmpfs,uid=1", 'uid not allowed for "tmpfs" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("sharing=shared", "invalid cache sharing set for bind mount"),
        ('a"b', 'failed to parse csv mounts: parse error on line 1, column 2: bare " in non-quoted field'),
        (
            '"a"b',
            'failed to parse csv mounts: parse error on line 1, column 4: extraneous or missing " in quoted-field',
        ),
    ],
)
def test_refuses_mounts(text: str, error: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse_mount(text, _expand)
    assert str(raised.value) == error


def test_the_stage_of_a_mount_is_known_before_its_variables() -> None:
    assert source_stage("type=bind,from=s,source=$x") == "s"
    assert source_stage("type=$x") == ""


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("vendor.com/gpu=all", RunDevice("vendor.com/gpu=all")),
        ("name=vendor.com/gpu=all,required", RunDevice("vendor.com/gpu=all", True)),
        ("vendor.com/gpu,required=false", RunDevice("vendor.com/gpu")),
    ],
)
def test_devices(text: str, device: RunDevice) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name=a,name=b", "device name already set to a"),
        ("a,b", "invalid field 'b' must be a key=value pair"),
        ("a,requird=1", "unexpected key 'requird' in 'requird=1' (did you mean required?)"),
        ("a,required=x", "invalid value for required: x"),
    ],
)
def test_refuses_devices(text: str, error: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse_device(text)
    assert str(raised.value) == error
