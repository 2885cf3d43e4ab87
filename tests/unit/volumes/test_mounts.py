from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.errors import InvalidParameter
from darse.volumes.mounts import (
    MountPlan,
    check_volume_name,
    mount_point,
    mount_points,
    parse_bind,
    parse_mount,
    parse_mounts,
    parse_volumes_from,
    tmpfs_words,
)
from darse.wire.host_config import (
    BindOptions,
    DriverConfig,
    HostConfig,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", {"type": "bind", "source": "/a", "destination": "/b", "rw": True, "propagation": "rprivate"}),
        ("/a:/b:ro", {"rw": False, "mode": "ro"}),
        ("/a/:/b/", {"source": "/a", "destination": "/b"}),
        ("//a/../c:/b//x/..", {"source": "/c", "destination": "/b"}),
        ("/a:/b:ro,z,rslave", {"rw": False, "propagation": "rslave"}),
        ("/a:/b:cached", {"rw": True}),
        ("vol:/b", {"type": "volume", "name": "vol", "driver": "local", "mode": "z", "propagation": ""}),
        ("vol:/b:ro", {"rw": False, "mode": "ro"}),
        ("vol:/b:nocopy", {"no_copy": True}),
    ],
)
def test_v(text: str, expected: dict[str, Any]) -> None:
    plan = parse_bind(text)
    assert {name: getattr(plan, name) for name in expected} == expected


_VOLUME = "invalid volume specification: '{0}': invalid mount config for type \"volume\": "
_BIND = "invalid volume specification: '{0}': invalid mount config for type \"bind\": "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("/a", "invalid volume specification: '/a'"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:", "invalid volume specification: '/a:'"),
        ("/a:/b:ro:rw", "invalid volume specification: '/a:/b:ro:rw'"),
        ("/a:b", _BIND.format("/a:b") + "invalid mount path: 'b' mount path must be absolute"),
        ("/a:/", _BIND.format("/a:/") + "invalid specification: destination can't be '/'"),
        ("/a:/b/..", _BIND.format("/a:/b/..") + "invalid specification: destination can't be '/'"),
        ("/a:/b:what", "invalid mode: what"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:,", "invalid mode: ,"),
        ("/a:/b:nocopy", _BIND.format("/a:/b:nocopy") + "field VolumeOptions must not be specified"),
        ("vol:/b:rslave", _VOLUME.format("vol:/b:rslave") + "field BindOptions must not be specified"),
    ],
)
def test_v_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_bind(text)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one", ("one", True)),
        ("one:", ("one", True)),
        ("one:rw", ("one", True)),
        ("one:ro", ("one", False)),
        ("one:z", ("one", True)),
        ("one:ro,Z,cached", ("one", False)),
    ],
)
def test_volumes_from(text: str, expected: tuple[str, bool]) -> None:
    assert parse_volumes_from(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "volumes-from specification cannot be an empty string"),
        (":", 'invalid name or ID supplied: ""'),
        (":ro", 'invalid name or ID supplied: ""'),
        ("one:bogus", "invalid mode: bogus"),
        ("one:ro:rw", "invalid mode: ro:rw"),
        ("one:ro,rw", "invalid mode: ro,rw"),
        ("one:nocopy", "invalid mode: nocopy"),
        ("one:rslave", "invalid mode: rslave"),
    ],
)
def test_volumes_from_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_volumes_from(text)
    assert str(raised.value) == message


def test_the_name_of_a_volume_is_its_driver_s_to_judge() -> None:
    assert parse_bind("pool/vol:/b", "ceph").name == "pool/vol"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0b", ".hidden", "-x", "a b", "", "x" * 256, "ä1", "a\n"])
def test_volume_names_that_are_paths_or_worse_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameter):
        check_volume_name(name)


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount("/b", "/a", "bind"), {"source": "/a", "propagation": "rprivate", "make_source": False}),
        (Mount("/b", "/a", "bind", ReadOnly=True), {"rw": False, "read_only_non_recursive": False}),
        (
            Mount("/b", "/a", "bind", BindOptions=BindOptions(Propagation="rshared", CreateMountpoint=True)),
            {"propagation": "rshared", "make_source": True},
        ),
        (
            Mount(
                "/b", "/a", "bind", ReadOnly=True, BindOptions=BindOptions(NonRecursive=True, ReadOnlyNonRecursive=True)
            ),
            {"non_recursive": True, "read_only_non_recursive": True},
        ),
        (Mount("/b", "vol", "volume"), {"name": "vol", "driver": "local", "anonymous": False}),
        (Mount("/b", "", "volume"), {"name": "", "anonymous": True}),
        (
            Mount(
                "/b",
                "vol",
                "volume",
                VolumeOptions=VolumeOptions(True, {"l": "1"}, DriverConfig("local", {"type": "tmpfs"}), "sub/./x"),
            ),
            {"no_copy": True, "labels": {"l": "1"}, "driver_options": {"type": "tmpfs"}, "subpath": "sub/x"},
        ),
        (Mount("/b", "", "tmpfs"), {"tmpfs_options": ["noexec", "nosuid", "nodev", "rprivate"]}),
        (
            Mount("/b", "", "tmpfs", ReadOnly=True, TmpfsOptions=TmpfsOptions(1024, 0o1770, [["exec"], ["uid", "5"]])),
            {"tmpfs_options": ["nosuid", "nodev", "rprivate", "ro", "size=1024", "mode=1770", "exec", "uid=5"]},
        ),
    ],
)
def test_mount(mount: Mount, expected: dict[str, Any]) -> None:
    plan = parse_mount(mount)
    assert {name: getattr(plan, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (Mount("/b", "/a", "what"), 'invalid mount config for type "what": mount type unknown'),
        (
            Mount("/b", "", "volume", ReadOnly=True),
            'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes',
        ),
        (Mount("", "/a", "bind"), 'invalid mount config for type "bind": field Target must not be empty'),
        (Mount("/b", "", "bind"), 'invalid mount config for type "bind": field Source must not be empty'),
        (
            Mount("/b", "a", "bind"),
            "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute",
        ),
        (
            Mount("b", "/a", "bind"),
            "invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
        ),
        (
            Mount("/b", "/a", "bind", VolumeOptions=VolumeOptions()),
            'invalid mount config for type "bind": field VolumeOptions must not be specified',
        ),
        (
            Mount("/b", "/a", "bind", BindOptions=BindOptions("odd")),
            'invalid mount config for type "bind": invalid propagation mode: odd',
        ),
        (
            Mount("/b", "/a", "bind", BindOptions=BindOptions(ReadOnlyNonRecursive=True)),
            'invalid mount config for type "bind": mount options conflict: '
            "!ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            Mount("/b", "", "volume", VolumeOptions=VolumeOptions(Subpath="x")),
            'invalid mount config for type "volume": must not set Subpath when using anonymous volumes',
        ),
        (
            Mount("/b", "vol", "volume", VolumeOptions=VolumeOptions(Subpath="../x")),
            'invalid mount config for type "volume": subpath must be a relative path within the volume',
        ),
        (
            Mount("/b", "vol", "volume", VolumeOptions=VolumeOptions(Subpath="x/../../y")),
            'invalid mount config for type "volume": subpath must be a relative path within the volume',
        ),
        (Mount("/b", "x", "tmpfs"), 'invalid mount config for type "tmpfs": field Source must not be specified'),
        (
            Mount("/b", "", "tmpfs", TmpfsOptions=TmpfsOptions(-1)),
            'invalid mount config for type "tmpfs": size must not be negative',
        ),
        (
            Mount("/b", "", "tmpfs", TmpfsOptions=TmpfsOptions(0, 2**40)),
            f'invalid mount config for type "tmpfs": invalid mode: {2**40}',
        ),
        (
            Mount("/b", "", "tmpfs", ImageOptions=ImageOptions()),
            'invalid mount config for type "tmpfs": field ImageOptions must not be specified',
        ),
        (
            Mount("/b", "", "tmpfs", TmpfsOptions=TmpfsOptions(0, 0, [["a", "b", "c"]])),
            'invalid mount config for type "tmpfs": invalid option array length',
        ),
        (
            Mount("/b", "/a", "bind", Consistency="odd"),
            'invalid mount config for type "bind": invalid consistency: odd',
        ),
        (
            Mount("/" + "x" * 300, "/a", "bind"),
            'invalid mount config for type "bind": invalid mount path: file name too long',
        ),
    ],
)
def test_mount_refused(mount: Mount, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        parse_mount(mount)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["noexec", "nosuid", "nodev"], ["noexec", "nosuid", "nodev"]),
        (["noexec", "exec", "size=1m", "size=2m"], ["exec", "size=2m"]),
        (
            ["ro", "rw", "mode=1777", "nr_inodes=5k", "size=50%", "mpol=prefer:1"],
            ["rw", "mode=1777", "nr_inodes=5k", "size=50%", "mpol=prefer:1"],
        ),
    ],
)
def test_tmpfs_options_are_merged(words: list[str], expected: list[str]) -> None:
    assert tmpfs_words(words, InvalidParameter) == expected


@pytest.mark.parametrize("word", ["what", "size=", "size=big", "mode=9", "uid=-1", "exec=1", "", "size=1\0", "bind"])
def test_tmpfs_options_that_the_kernel_would_not_take(word: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        tmpfs_words([word], InvalidParameter)
    assert str(raised.value) == f'Invalid tmpfs option "{word}"'


def destinations(plans: list[MountPlan]) -> list[tuple[str, str, str]]:
    return [(plan.destination, plan.type, plan.source or plan.name) for plan in plans]


def test_later_forms_win_and_parents_come_first() -> None:
    inherited = [
        MountPlan(type="volume", name="theirs", destination="/data"),
        MountPlan(type="volume", name="kept", destination="/kept"),
    ]
    host = HostConfig(Binds=["/host:/data"], Mounts=[Mount("/data/deep/er", "", "tmpfs")], Tmpfs={"/run": "size=1m"})
    plans = parse_mounts(host, {"/run": {}, "/img": {}}, {"/kept": {}, "/img": {}, "/img/x": {}}, inherited)
    assert destinations(plans) == [
        ("/data", "bind", "/host"),
        ("/img", "volume", ""),
        ("/kept", "volume", "kept"),
        ("/run", "tmpfs", ""),
        ("/img/x", "volume", ""),
        ("/data/deep/er", "tmpfs", ""),
    ]
    assert [plan.anonymous for plan in plans] == [False, True, False, False, True, False]


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(Binds=["/a:/x", "/b:/x/"]),
        HostConfig(Binds=["/a:/x"], Mounts=[Mount("/x", "/b", "bind")]),
        HostConfig(Binds=["/a:/x"], Tmpfs={"/x": ""}),
        HostConfig(Mounts=[Mount("/x", "", "tmpfs"), Mount("//x", "", "volume")]),
    ],
)
def test_one_destination_asked_for_twice_is_an_error(host: HostConfig) -> None:
    with pytest.raises(InvalidParameter, match=r"^Duplicate mount point: /x$"):
        parse_mounts(host, None, None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/", "rslave"),
        ("/var/lib", "rslave"),
        ("/var/lib/darse", "rslave"),
        ("/var/lib/darse/volumes/v/_data", "rslave"),
        ("/var/lib/darse2", "rprivate"),
        ("/var/li", "rprivate"),
        ("/srv", "rprivate"),
    ],
)
def test_binds_of_the_data_root_let_unmounts_through(source: str, expected: str) -> None:
    host = HostConfig(Binds=[f"{source}:/a"], Mounts=[Mount("/b", source, "bind")])
    plans = parse_mounts(host, None, None, data_root="/var/lib/darse")
    assert [(plan.propagation, plan.default_propagation) for plan in plans] == [(expected, True)] * 2


@pytest.mark.parametrize(
    ("propagation", "refused"),
    [("rslave", False), ("rshared", False), ("rprivate", True), ("private", True), ("slave", True), ("shared", True)],
)
def test_a_propagation_that_would_hold_unmounts_back_is_refused(propagation: str, refused: bool) -> None:
    options = BindOptions(Propagation=propagation)
    for host in (
        HostConfig(Binds=[f"/:/a:{propagation}"]),
        HostConfig(Mounts=[Mount("/a", "/", "bind", BindOptions=options)]),
    ):
        if refused:
            said = r'"rslave" or "rshared" .* daemon root: "/d", bind mount source: "/", propagation: "' + propagation
            with pytest.raises(InvalidParameter, match=said):
                parse_mounts(host, None, None, data_root="/d")
        else:
            [plan] = parse_mounts(host, None, None, data_root="/d")
            assert (plan.propagation, plan.default_propagation) == (propagation, False)


def test_tmpfs_has_docker_s_defaults_and_is_not_listed() -> None:
    [plan] = parse_mounts(HostConfig(Tmpfs={"/t": "exec,size=1m"}), None, None)
    assert plan.tmpfs_options == ["nosuid", "nodev", "exec", "size=1m"]
    assert mount_points([plan]) == []
    assert len(mount_points([parse_mount(Mount("/t", "", "tmpfs"))])) == 1


def test_the_volume_driver_is_for_names_and_anonymous_volumes() -> None:
    host = HostConfig(VolumeDriver="nfs", Binds=["vol:/a", "/h:/b"])
    assert [plan.driver for plan in parse_mounts(host, {"/c": {}}, None)] == ["nfs", "", "nfs"]


def test_inspect_shows_a_mount_as_docker_does() -> None:
    point = mount_point(parse_bind("/a:/b:ro"))
    assert (point.Type, point.Source, point.Destination) == ("bind", "/a", "/b")
    assert (point.Mode, point.RW, point.Propagation) == ("ro", False, "rprivate")
    point = mount_point(
        MountPlan(type="volume", name="v1", source="/r/v1/_data", driver="local", destination="/b", mode="z")
    )
    assert (point.Name, point.Driver, point.Source, point.Mode) == ("v1", "local", "/r/v1/_data", "z")


_TEXT = st.text(st.sampled_from("/:.,-ab\0 \nä\ud800rowz="), max_size=16)


@given(
    st.lists(_TEXT, max_size=3),
    st.dictionaries(_TEXT, _TEXT, max_size=2),
    st.dictionaries(_TEXT, st.none(), max_size=2),
)
def test_anything_is_a_plan_or_refused(binds: list[str], tmpfs: dict[str, str], volumes: dict[str, object]) -> None:
    try:
        plans = parse_mounts(HostConfig(Binds=binds, Tmpfs=tmpfs), volumes, None)
    except InvalidParameter:
        return
    for plan in plans:
        assert plan.destination.startswith("/")
        assert plan.destination != "/"
        assert not {"", ".", ".."} & set(plan.destination.split("/")[1:])
        assert plan.type != "bind" or plan.source.startswith("/")
        assert plan.type != "volume" or plan.anonymous or "/" not in plan.name
    assert len({plan.destination for plan in plans}) == len(plans)
