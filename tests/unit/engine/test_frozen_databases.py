"""Databases of former engines, kept by `tests/frozen/make.py`: every record of theirs reads as it was meant."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from darse.build.cache.database_storage import CACHE_DOCUMENTS, INPUTS_DOCUMENTS, DatabaseCacheStorage
from darse.build.history.attachments import ATTACHMENTS_DOCUMENTS, decompress
from darse.build.history.records import BuildState, StepState
from darse.build.history.store import LOG_DOCUMENTS, STEPS_DOCUMENTS, SUMMARY_DOCUMENTS, BuildHistory
from darse.containers.model import RECORD_DOCUMENTS, STATE_DOCUMENTS, Container, Status
from darse.containers.store import ContainerStore
from darse.core.documents import DocumentCodec, ListCodec
from darse.core.events import EVENT_DOCUMENTS, EventLog
from darse.core.object_references import ObjectReferences, ObjectUser
from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.image_spec.digests import digest_of
from darse.images.model import IMAGE_DOCUMENTS, TARGET_DOCUMENTS
from darse.images.snapshots.mounted_images import CHAIN_DOCUMENTS
from darse.images.store import ImageStore
from darse.managed_plugins.model import PLUGIN_DOCUMENTS
from darse.networks.model import ENDPOINT_DOCUMENTS, NETWORK_DOCUMENTS, SANDBOX_DOCUMENTS
from darse.networks.store import NetworkStore
from darse.plugins import PluginClient
from darse.volumes.model import VOLUME_DOCUMENTS
from darse.volumes.remote import RemoteVolumes
from darse.volumes.service import VolumeService

FROZEN = sorted((Path(__file__).parents[2] / "frozen").glob("*.sqlite.xz"))
#: The first that has a row of every kind.
COMPLETE = "2026-11-30"


class Document(NamedTuple):
    """A column of a table, and what reads and writes it."""

    column: str
    codec: DocumentCodec[Any] | ListCodec[Any]
    unpacked: Callable[[bytes], bytes] = bytes
    form: Any = msgspec.json


DOCUMENTS = [
    Document("build_attachments.document", ATTACHMENTS_DOCUMENTS, decompress),
    Document("build_history.log", LOG_DOCUMENTS, decompress, msgspec.msgpack),
    Document("build_history.steps", STEPS_DOCUMENTS, decompress),
    Document("build_history.summary", SUMMARY_DOCUMENTS),
    Document("build_inputs.inputs", INPUTS_DOCUMENTS),
    Document("build_records.document", CACHE_DOCUMENTS),
    Document("containers.record", RECORD_DOCUMENTS),
    Document("containers.state", STATE_DOCUMENTS),
    Document("ended_endpoints.document", ENDPOINT_DOCUMENTS),
    Document("events.document", EVENT_DOCUMENTS),
    Document("image_targets.document", TARGET_DOCUMENTS),
    Document("images.document", IMAGE_DOCUMENTS),
    Document("mounted_images.chain", CHAIN_DOCUMENTS),
    Document("networks.document", NETWORK_DOCUMENTS),
    Document("plugins.document", PLUGIN_DOCUMENTS),
    Document("sandboxes.document", SANDBOX_DOCUMENTS),
    Document("snapshots.chain", CHAIN_DOCUMENTS),
    Document("volumes.document", VOLUME_DOCUMENTS),
]
#: Columns of bytes that are no documents of ours: blobs, known by their digests.
BLOBS = {"build_blobs.content"}


@pytest.fixture(params=FROZEN, ids=lambda path: path.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    yield from _opened(request.param, tmp_path)


@pytest.fixture(params=[path for path in FROZEN if path.name >= COMPLETE], ids=lambda path: path.name)
def complete(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    yield from _opened(request.param, tmp_path / "complete")


def _opened(frozen: Path, directory: Path) -> Iterator[State]:
    directory.mkdir(exist_ok=True)
    database = directory / "state.sqlite"
    database.write_bytes(lzma.decompress(frozen.read_bytes()))
    state = State(database, SCHEMAS)
    yield state
    assert state.damaged == {}
    state.close()


@pytest.fixture
def store(state: State) -> ContainerStore:
    return ContainerStore(state)


def test_there_are_some() -> None:
    assert len(FROZEN) >= 3
    assert [path.name for path in FROZEN if path.name.startswith(COMPLETE)]


def test_every_column_of_documents_is_known(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", SCHEMAS)
    columns = {
        f"{table}.{column}"
        for (table,) in state.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        for _, column, kind, *_ in state.rows(f"PRAGMA table_info({table})")
        if kind == "BLOB"
    }
    state.close()
    assert columns == {one.column for one in DOCUMENTS} | BLOBS


@pytest.mark.parametrize("document", DOCUMENTS, ids=[one.column for one in DOCUMENTS])
def test_no_member_of_a_document_is_lost(state: State, document: Document) -> None:
    for kept in _kept(state, document):
        written = document.codec.encode(document.codec.decode(kept))
        assert _lost(document.form.decode(kept), document.form.decode(written)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=[one.column for one in DOCUMENTS])
def test_there_is_a_document_of_every_kind_with_its_version(complete: State, document: Document) -> None:
    documents = [document.form.decode(kept) for kept in _kept(complete, document)]
    assert documents
    for one in documents:
        assert isinstance(one, list) or one["document_version"] >= 1


def _kept(state: State, document: Document) -> list[bytes]:
    table, _, column = document.column.partition(".")
    return [document.unpacked(kept) for (kept,) in state.rows(f"SELECT {column} FROM {table}")]


def _lost(old: Any, new: Any, place: str = "$") -> list[str]:
    """Members of a document that are not, or not so, in another one; what has its zero value need not be written."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [one for key, value in old.items() if value for one in _lost(value, new.get(key), f"{place}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [one for at, pair in enumerate(zip(old, new, strict=True)) for one in _lost(*pair, f"{place}[{at}]")]
    return [] if old == new else [f"{place}: {old!r} has become {new!r}"]


def test_containers(store: ContainerStore) -> None:
    later = {"mounting": Status.RUNNING, "plugged": Status.EXITED}
    containers = [one for one in store if not one.name.startswith(".plugin-")]
    assert {(one.name, one.state.status) for one in containers if one.name not in later} == {
        ("ended", Status.EXITED),
        ("full", Status.CREATED),
        ("running", Status.RUNNING),
        ("paused", Status.PAUSED),
    }
    assert all(one.state.status is later[one.name] for one in containers if one.name in later)
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
    assert {one.name for one in networks} - {"plugged"} == {"bridge", "host", "none", "net"}
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


async def test_plugins_and_what_they_have_mounted(complete: State, tmp_path: Path) -> None:
    mounting = ContainerStore(complete).get("mounting")
    remote = RemoteVolumes(complete, PluginClient((), ()))
    assert remote.hold_mounts_of({mounting.id}) == []
    (left,) = remote.hold_mounts_of(set())
    assert (left.volume, left.driver, left.container_id) == ("remote", "me/volumes:latest", mounting.id)
    volumes = VolumeService(tmp_path, complete, EventLog(complete), plugins=PluginClient((), ()))
    assert "remote" in {name for name, _ in complete.rows("SELECT name, document FROM volumes")}
    assert (await volumes.inspect("data")).Driver == "local"
    rows = complete.rows("SELECT name, document FROM plugins")
    ((name, plugin),) = complete.decoded("plugins", rows, PLUGIN_DOCUMENTS.decode)
    assert (name, plugin.name, plugin.enabled) == ("me/volumes:latest", "me/volumes:latest", True)
    assert msgspec.json.decode(plugin.config)["interface"]["types"] == ["docker.volumedriver/1.0"]


def test_an_endpoint_of_a_plugin_that_has_not_ended(complete: State) -> None:
    networks = NetworkStore(complete)
    plugged = networks.get("plugged")
    assert (plugged.driver, plugged.subnet) == ("fake", "10.231.8.0/24")
    (endpoint,) = networks.ended()
    assert (endpoint.network_id, endpoint.network_name) == (plugged.id, "plugged")
    assert networks.sandbox_of(ContainerStore(complete).get("plugged").id) is None


def test_layers_of_containers_and_of_the_images_that_they_mount(complete: State) -> None:
    images, mounting = ImageStore(complete), ContainerStore(complete).get("mounting")
    ((chain,),) = complete.rows("SELECT chain FROM snapshots WHERE container_id = ?", (mounting.id,))
    assert CHAIN_DOCUMENTS.decode(chain) == list(images.find("builtin/busybox").image.chain_ids)
    mine = images.find("mine:1").image
    rows = complete.rows("SELECT image_id, chain FROM mounted_images WHERE container_id = ?", (mounting.id,))
    assert [(one, CHAIN_DOCUMENTS.decode(layers)) for one, layers in rows] == [(mine.id, list(mine.chain_ids))]


def test_builds_their_history_and_their_cache(complete: State) -> None:
    history = BuildHistory(complete)
    failed, built = history.summaries()
    assert (failed.state, built.state, built.names) == (BuildState.FAILED, BuildState.BUILT, ("built:1",))
    assert history.pinned() == {built.id}
    (ran,) = (one for one in history.record(built).steps if one.name.endswith("RUN echo said && echo content > /said"))
    assert (ran.state, ran.operation is not None) == (StepState.EXECUTED, True)
    assert b"said\n" in {log.data for log in history.logs(built)}
    attachments = history.attachments.of(built.id)
    assert attachments.response["containerimage.digest"] == built.image
    assert {"logs", "result", "attestation"} <= {one.kind for one in attachments.listed}
    for one in attachments.listed:
        content = history.attachments.read(one.digest)
        assert content is not None
        assert digest_of(content) == one.digest
    cache = DatabaseCacheStorage(complete)
    records = {record.id: record for record in cache.records()}
    assert len(records) == 4
    assert set(ran.snapshots) <= records.keys()
    for key, record in complete.rows("SELECT key, record FROM build_results"):
        assert cache.result(key) == records[record]
    for (operation,) in complete.rows("SELECT operation FROM build_inputs"):
        assert cache.last_inputs(operation)


def test_events(state: State) -> None:
    found = EventLog(state).between(0, 1 << 62)
    assert {("container", "create"), ("network", "create"), ("volume", "create"), ("image", "tag")} <= {
        (event.Type, event.Action) for event in found
    }
    assert len(found) == len(state.rows("SELECT number FROM events"))


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
    mounting = [ObjectUser(one.id, running=True) for one in store if one.name == "mounting"]
    assert references.image_users(full.record.image_id) == [ObjectUser(full.id, running=False), *mounting]
    assert store.reference_differences() == []


def test_the_new_engine_writes_versions(state: State, store: ContainerStore) -> None:
    for container in store:
        store.save_record(container)
        store.save_state(container)
    for record, container_state in state.rows("SELECT record, state FROM containers"):
        assert msgspec.json.decode(record)["document_version"] == 1
        assert msgspec.json.decode(container_state)["document_version"] == 1
