"""Devices by name: files read, names resolved, specs changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.cdi import Catalogue, apply, check_request
from darse.wire.host_config import DeviceRequest

FILE: dict[str, Any] = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/thing",
    "containerEdits": {"env": ["COMMON=1"]},
    "devices": [
        {
            "name": "one",
            "containerEdits": {
                "env": ["PATH=/vendor", "ONE=1"],
                "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/null", "permissions": "rw"}],
                "mounts": [{"hostPath": "/opt/lib", "containerPath": "/lib/thing", "options": ["ro", "bind"]}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "x"]}],
                "additionalGids": [44, 0],
            },
        },
        {"name": "two", "containerEdits": {"deviceNodes": [{"path": "/dev/two", "type": "c", "major": 9, "minor": 8}]}},
    ],
}


def write(directory: Path, name: str, document: dict[str, Any]) -> str:
    directory.mkdir(exist_ok=True)
    text = json.dumps(document) if name.endswith("json") else to_yaml(document)
    (directory / name).write_text(text)
    return str(directory)


def to_yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document))


def named(*names: str) -> DeviceRequest:
    return DeviceRequest("cdi", DeviceIDs=list(names))


def spec() -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "HOME=/"], "user": {"uid": 0}},
        "mounts": [],
        "linux": {"devices": [{"path": "/dev/thing"}], "resources": {"devices": []}},
    }


@pytest.mark.parametrize("name", ["vendor.json", "vendor.yaml"])
def test_a_device_changes_the_spec(tmp_path: Path, name: str) -> None:
    catalogue = Catalogue([write(tmp_path, name, FILE)])
    assert catalogue.names == ["vendor.com/thing=one", "vendor.com/thing=two"]
    changed = spec()
    apply(changed, catalogue.edits([named("vendor.com/thing=one", "vendor.com/thing=two", "vendor.com/thing=one")]))
    assert changed["process"]["env"] == ["HOME=/", "COMMON=1", "PATH=/vendor", "ONE=1"]
    assert changed["process"]["user"]["additionalGids"] == [44]
    mount = {"source": "/opt/lib", "destination": "/lib/thing", "type": "bind", "options": ["ro", "bind"]}
    assert changed["mounts"] == [mount]
    assert changed["hooks"] == {"createContainer": [{"path": "/bin/hook", "args": ["hook", "x"]}]}
    thing, two = changed["linux"]["devices"]
    assert (thing["path"], thing["type"], thing["major"], thing["minor"]) == ("/dev/thing", "c", 1, 3)
    assert two == {"path": "/dev/two", "type": "c", "major": 9, "minor": 8}
    assert changed["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 9, "minor": 8, "access": "rwm"},
    ]


def test_a_later_directory_comes_first(tmp_path: Path) -> None:
    other = {**FILE, "devices": [{"name": "one", "containerEdits": {"env": ["FROM=later"]}}], "containerEdits": {}}
    catalogue = Catalogue([write(tmp_path / "a", "x.json", FILE), write(tmp_path / "b", "x.json", other)])
    changed = spec()
    apply(changed, catalogue.edits([named("vendor.com/thing=one")]))
    assert "FROM=later" in changed["process"]["env"]


def test_a_device_that_is_twice_in_a_directory_is_none(tmp_path: Path) -> None:
    write(tmp_path, "a.json", FILE)
    write(tmp_path, "b.json", {**FILE, "devices": FILE["devices"][:1]})
    catalogue = Catalogue([str(tmp_path)])
    assert catalogue.names == ["vendor.com/thing=two"]
    with pytest.raises(InvalidParameter, match=r"one \(vendor.com/thing=one is in .*a\.json and in .*b\.json"):
        catalogue.edits([named("vendor.com/thing=one")])


def test_what_is_not_there_is_named_with_the_files_that_are_broken(tmp_path: Path) -> None:
    write(tmp_path, "good.json", FILE)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "worse.yaml").write_text("a: [")
    (tmp_path / "strange.json").write_text(json.dumps({**FILE, "kind": "nothing"}))
    with pytest.raises(InvalidParameter, match=r"unresolvable CDI devices vendor.com/thing=three.*broken\.json"):
        Catalogue([str(tmp_path)]).edits([named("vendor.com/thing=three")])


def test_gpus_are_those_of_the_kind_that_is_there(tmp_path: Path) -> None:
    devices = [{"name": name, "containerEdits": {"env": [f"GPU={name}"]}} for name in ("0", "1", "all")]
    catalogue = Catalogue(
        [write(tmp_path, "n.json", {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices})]
    )

    def chosen(**request: Any) -> list[str]:
        found = catalogue.edits([DeviceRequest(Capabilities=[["gpu"]], **request)])
        return [entry for one in found for entry in one.env or ()]

    assert chosen(Count=-1) == ["GPU=all"]
    assert chosen(Count=2) == ["GPU=0", "GPU=1"]
    assert chosen(DeviceIDs=["1"]) == ["GPU=1"]
    assert chosen(Driver="nvidia", Count=1) == ["GPU=0"]
    with pytest.raises(InvalidParameter, match=r'could not select device driver "" with capabilities: \[\[gpu\]\]'):
        Catalogue([]).edits([DeviceRequest(Count=-1, Capabilities=[["gpu"]])])


def test_requests_that_nobody_can_meet_are_refused_at_creation() -> None:
    check_request(named("vendor.com/thing=one"))
    for request in (named("vendor.com/thing"), named("=x"), DeviceRequest("x", Capabilities=[["tpu"]])):
        with pytest.raises(InvalidParameter):
            check_request(request)


def test_a_node_that_the_host_has_not(tmp_path: Path) -> None:
    nodes = {"deviceNodes": [{"path": "/dev/no-such-thing"}]}
    catalogue = Catalogue([write(tmp_path, "x.json", {**FILE, "devices": [{"name": "x", "containerEdits": nodes}]})])
    with pytest.raises(InvalidParameter, match="/dev/no-such-thing: No such file"):
        apply(spec(), catalogue.edits([named("vendor.com/thing=x")]))
