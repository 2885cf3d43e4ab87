"""Databases of former engines, kept by `tests/frozen/make.py`: every record of theirs reads as it was meant."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from darse.containers.model import RECORD_DOCUMENTS, STATE_DOCUMENTS, Container, Status
from darse.containers.store import ContainerStore
from darse.core.documents import DocumentCodec
from darse.core.events import EventLog
from darse.core.object_references import ObjectReferences, ObjectUser
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.images.model import IMAGE_DOCUMENTS, TARGET_DOCUMENTS
from darse.images.store import ImageStore
from darse.networks.model import NETWORK_DOCUMENTS, SANDBOX_DOCUMENTS
from darse.networks.store import NetworkStore
from darse.plugins import PluginClient
from darse.volumes.model import VOLUME_DOCUMENTS
from darse.volumes.service import VolumeService

FROZEN = sorted((Path(__file__).parents[2] / "frozen").glob("*.sqlite.xz"))
DOCUMENTS: list[tuple[str, DocumentCodec[Any]]] = [
    ("SELECT record FROM containers", RECORD_DOCUMENTS),
    ("SELECT state FROM containers", STATE_DOCUMENTS),
    ("SELECT document FROM networks", NETWORK_DOCUMENTS),
    ("SELECT document FROM sandboxes", SANDBOX_DOCUMENTS),
    ("SELECT document FROM volumes", VOLUME_DOCUMENTS),
    ("SELECT document FROM images", IMAGE_DOCUMENTS),
    ("SELECT document FROM image_targets", TARGET_DOCUMENTS),
]


@pytest.fixture(params=FROZEN, ids=lambda path: path.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    database = tmp_path / "state.sqlite"
    database.write_bytes(lzma.decompress(request.param.read_bytes()))
    state = State(database, SCHEMAS)
    yield state
    assert state.damaged == {}
    state.close()


@pytest.fixture
def store(state: State) -> ContainerStore:
    return ContainerStore(state)


def test_there_are_some() -> None:
    assert len(FROZEN) >= 2


@pytest.mark.parametrize(("query", "documents"), DOCUMENTS, ids=[query.split()[-1] for query, _ in DOCUMENTS])
def test_no_member_of_a_document_is_lost(state: State, query: str, documents: DocumentCodec[Any]) -> None:
    rows = state.rows(query)
    assert rows
    for (document,) in rows:
        written = msgspec.json.decode(documents.encode(documents.decode(document)))
        assert _lost(msgspec.json.decode(document), written) == []


def _lost(old: Any, new: Any, place: str = "$") -> list[str]:
    """Members of a document that are not, or not so, in another one; what has its zero value need not be written."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [one for key, value in old.items() if value for one in _lost(value, new.get(key), f"{place}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [one for at, pair in enumerate(zip(old, new, strict=True)) for one in _lost(*pair, f"{place}[{at}]")]
    return [] if old == new else [f"{place}: {old!r} has become {new!r}"]


def test_containers(store: ContainerStore) -> None:
    assert {(one.name, one.state.status) for one in store} == {
        ("ended", Status.EXITED),
        ("full", Status.CREATED),
        ("running", Status.RUNNING),
        ("paused", Status.PAUSED),
    }
    assert store.get("ended").state.exit_code == 7
    running = store.get("running")
    assert running.state.pid > 1
    assert running.state.monitor_pid > 1
    assert running.record.image_reference == "builtin/busybox"
    _check_options(store.get("full"))


def _check_options(full: Container) -> None:
    config, host = full.record.config, full.record.host
    assert (config.Hostname, config.User, config.WorkingDir, config.StopSignal) == ("box", "1000:1000", "/tmp", "INT")
    assert (config.Entrypoint, config.Cmd) == (["/bin/sh"], ["-c", "sleep 1000"])
    assert {"A=1", "B=2"} <= set(config.Env or ())
    assert (config.Labels, config.Healthcheck.Test if config.Healthcheck else None) == (
        {"tier": "front", "org.darse.builtin": "true"},
        ["CMD-SHELL", "true"],
    )
    assert (host.Memory, host.NanoCpus, host.PidsLimit, host.Init, host.ReadonlyRootfs) == (
        64 << 20,
        500_000_000,
        50,
        True,
        True,
    )
    assert (host.RestartPolicy.Name, host.RestartPolicy.MaximumRetryCount) == ("on-failure", 3)
    assert (host.LogConfig.Config, host.CapAdd, host.CapDrop) == ({"max-size": "1m"}, ["CAP_CHOWN"], ["ALL"])
    assert host.PortBindings is not None
    assert [(one.HostIp, one.HostPort) for one in host.PortBindings["80/tcp"]] == [("127.0.0.1", "18080")]
    settings = full.record.endpoints["net"]
    assert settings.IPAMConfig is not None
    assert (settings.Aliases, settings.IPAMConfig.IPv4Address) == (["www"], "10.231.7.9")
    mounts = {plan.destination: plan for plan in full.record.mounts}
    assert mounts.keys() == {"/data", "/anonymous", "/host", "/scratch"}
    assert (mounts["/data"].name, mounts["/data"].rw, mounts["/anonymous"].anonymous) == ("data", False, True)
    assert (mounts["/host"].type, mounts["/host"].source) == ("bind", "/etc")


def test_networks_and_sandboxes(state: State, store: ContainerStore) -> None:
    networks = NetworkStore(state)
    assert {one.name for one in networks} == {"bridge", "host", "none", "net"}
    net = networks.get("net")
    assert (net.driver, net.subnet, net.gateway, net.internal, net.labels) == (
        "bridge",
        "10.231.7.0/24",
        "10.231.7.1",
        True,
        {"kept": "yes"},
    )
    sandbox = networks.sandbox_of(store.get("running").id)
    assert sandbox is not None
    (endpoint,) = sandbox.endpoints
    assert (endpoint.network_name, endpoint.prefix) == ("bridge", networks.get("bridge").pools[0].network.prefixlen)
    assert endpoint.address
    assert endpoint.link
    (port,) = sandbox.published
    assert (port.protocol, port.host_ip, port.host_port, port.container_port) == ("udp", "127.0.0.1", 18081, 80)


async def test_volumes(state: State, tmp_path: Path) -> None:
    volumes = VolumeService(tmp_path, state, EventLog(state), plugins=PluginClient((), ()))
    data = await volumes.inspect("data")
    assert (data.Driver, data.Labels) == ("local", {"kept": "yes"})


def test_images(state: State, store: ContainerStore) -> None:
    images = ImageStore(state)
    mine = images.find("mine:1").image
    assert images.find("registry.example.org:5000/team/mine:2").image is mine
    assert mine.parent == images.find("builtin/busybox").image.id
    assert mine.config.config is not None
    assert "B=2" in (mine.config.config.Env or ())
    assert "80/tcp" in (mine.config.config.ExposedPorts or {})
    assert store.get("full").record.image_id == mine.id


def test_what_containers_use_is_known_after_the_first_start(state: State, store: ContainerStore) -> None:
    store.repair_references()
    references = ObjectReferences(state)
    full, ended = store.get("full"), store.get("ended")
    assert {user.container_id for user in references.volume_users("data")} == {full.id, ended.id}
    assert references.network_users("net") == [ObjectUser(full.id, running=False)]
    assert references.network_users("bridge") != []
    assert references.image_users(full.record.image_id) == [ObjectUser(full.id, running=False)]
    assert store.reference_differences() == []


def test_the_new_engine_writes_versions(state: State, store: ContainerStore) -> None:
    for container in store:
        store.save_record(container)
        store.save_state(container)
    for record, container_state in state.rows("SELECT record, state FROM containers"):
        assert msgspec.json.decode(record)["document_version"] == 1
        assert msgspec.json.decode(container_state)["document_version"] == 1
