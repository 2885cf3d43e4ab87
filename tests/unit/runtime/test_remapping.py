"""What the ids of a container are, with and without `--userns-remap`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter, SystemFault
from darse.linux.proc.userns import IdMaps, IdRange
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci.mounts import BindMount
from darse.runtime.remapping import IdentityMapping, Remapping, owners_of
from darse.wire.host_config import DeviceMapping, HostConfig

MAPS = IdMaps((IdRange(0, 100000, 65536),), (IdRange(0, 200000, 65536),))
ROOT = RootMount(["/data/layers/1"], "/data/snapshots/c/upper", "/data/snapshots/c/work")
BINDS = [
    BindMount("/data/containers/c/hosts", "/etc/hosts", writable=True, propagation="rprivate"),
    BindMount("/data/volumes/v/_data", "/v", writable=True, propagation="rprivate"),
    BindMount("/srv", "/srv", writable=True, propagation="rprivate"),
]
NULL = HostConfig(Devices=[DeviceMapping("/dev/null", "/dev/null", "rwm")])


@pytest.fixture
def mounted(tmp_path: Path) -> Remapping:
    """A remapping whose id-mapped mounts are there."""
    mapping = Remapping(MAPS, tmp_path)
    mapping._mapped = {Path("/data/layers"): tmp_path / "0", Path("/data"): tmp_path / "1"}
    return mapping


def test_without_remapping_everything_stays_as_it_is(tmp_path: Path) -> None:
    mapping = IdentityMapping()
    mapping.check_options(HostConfig(Privileged=True))
    assert mapping.mapped_path("/data/x") == "/data/x"
    assert mapping.map_root(ROOT) == ROOT
    assert mapping.map_mounts(BINDS, NULL, "/data/containers", {"/v"}) == BINDS
    assert mapping.shared_user_namespace({"other": os.getpid()}) == ""
    assert (mapping.maps, mapping.owners, mapping.root_on_disk) == (None, "", (0, 0))


def test_containers_see_the_engines_directories_through_mounts_and_their_root_mounts_the_overlay(
    mounted: Remapping, tmp_path: Path
) -> None:
    assert mounted.map_root(ROOT) == RootMount(
        [f"{tmp_path}/0/1"], f"{tmp_path}/1/snapshots/c/upper", f"{tmp_path}/1/snapshots/c/work", (100000, 200000)
    )
    with pytest.raises(SystemFault, match="/other is in no directory"):
        mounted.mapped_path("/other")


def test_files_of_the_engine_and_volumes_are_mapped_and_what_is_the_hosts_is_not(
    mounted: Remapping, tmp_path: Path
) -> None:
    found = mounted.map_mounts(BINDS, NULL, "/data/containers", {"/v"})
    assert [(one.source, one.destination) for one in found if isinstance(one, BindMount)] == [
        (f"{tmp_path}/1/containers/c/hosts", "/etc/hosts"),
        (f"{tmp_path}/1/volumes/v/_data", "/v"),
        ("/srv", "/srv"),
        ("/dev/null", "/dev/null"),  # nobody makes nodes in a user namespace
    ]


def test_owners_that_are_mapped_on_the_disk_need_no_mounts(tmp_path: Path) -> None:
    mapping = Remapping(MAPS, tmp_path)
    mapping.owners = str(owners_of(MAPS))
    assert mapping.root_on_disk == (100000, 200000)
    assert mapping.map_root(ROOT) == ROOT
    assert mapping.map_mounts(BINDS, HostConfig(), "/data/containers", {"/v"}) == BINDS


def test_options_that_need_the_hosts_namespaces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="privileged mode is incompatible"):
        Remapping(MAPS, tmp_path).check_options(HostConfig(Privileged=True))


def test_namespaces_of_the_host_cannot_be_joined_from_a_user_namespace(tmp_path: Path) -> None:
    mapping = Remapping(MAPS, tmp_path)
    assert mapping.shared_user_namespace({}) == ""
    with pytest.raises(InvalidParameter, match=r"cannot join namespaces of web from a user namespace: .*--userns=host"):
        mapping.shared_user_namespace({"web": os.getpid()})
