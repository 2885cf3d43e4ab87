"""The index that every request goes through."""

import msgspec
import pytest

from darse.containers.model import Container, Record, RunState, Status
from darse.containers.store import SCHEMA, ContainerStore
from darse.core import object_references
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.object_references import ObjectKind, ObjectReference, ObjectReferences, ObjectUser
from darse.core.state import Damage
from darse.core.state import State as Database
from darse.volumes.mounts import MountPlan
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig
from darse.wire.networks import EndpointSettings


def _container(id_, name, status=Status.CREATED):
    record = Record(
        id=id_.ljust(64, "0"),
        name=name,
        created_ns=1,
        image_id="sha256:0",
        image_reference="img",
        config=ContainerConfig(),
        host=HostConfig(),
        endpoints={},
        mounts=[],
    )
    return Container(record, RunState(status))


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "state.sqlite", [SCHEMA, object_references.SCHEMA])
    yield database
    database.close()


@pytest.fixture
def store(database):
    store = ContainerStore(database)
    for id_, name in (("abc1", "web"), ("abd2", "db"), ("fff3", "abc")):
        store.add(_container(id_, name))
    return store


def test_a_container_is_found_by_id_name_and_prefix(store):
    web = store.get("web")
    assert store.get(web.id) is web
    assert store.get("/web") is web
    assert store.get("abc1") is web


def test_a_name_comes_before_an_abbreviated_id(store):
    assert store.get("abc").name == "abc"


def test_an_ambiguous_prefix_is_refused(store):
    with pytest.raises(InvalidParameter, match="multiple IDs found with provided prefix: ab"):
        store.get("ab")


@pytest.mark.parametrize("reference", ["nope", "", "abc9", "ABC1", "../web"])
def test_what_is_not_there_is_not_found(store, reference):
    with pytest.raises(NotFound, match="No such container"):
        store.get(reference)


def test_a_taken_name_is_a_conflict_that_names_the_holder(store):
    with pytest.raises(Conflict, match=f'"/web" is already in use by container "{store.get("web").id}"'):
        store.add(_container("eee", "web"))


def test_a_container_under_creation_holds_its_name_and_is_not_shown(store):
    store.add(_container("eee4", "soon", Status.CREATING))
    assert store.name_is_taken("soon")
    assert "soon" not in {container.name for container in store}
    with pytest.raises(NotFound):
        store.get("soon")


def test_what_was_stored_is_there_again(store, database):
    store.rename(store.get("db"), "database")
    store.delete_container(store.get("abc"))
    store.get("web").state.exit_code = 7
    store.save_state(store.get("web"))
    again = ContainerStore(database)
    assert {container.name for container in again} == {"web", "database"}
    assert again.get("web").state.exit_code == 7


# A change that cannot be written is none


def _refused(database, change):
    """Make a change in a transaction that fails afterwards."""

    def fails():
        with database.transaction():
            change()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()


def _names(store):
    return sorted(one.name for one in store)


def test_a_refused_rename_leaves_the_name(database, store):
    web = store.get("web")
    _refused(database, lambda: store.rename(web, "other"))
    assert (web.name, store.get("web")) == ("web", web)
    assert not store.name_is_taken("other")


def test_a_refused_removal_leaves_the_container(database, store):
    web = store.get("web")
    _refused(database, lambda: store.delete_container(web))
    assert store.get("abc1") is web
    assert _names(store) == ["abc", "db", "web"]


def test_a_refused_creation_takes_no_name(database, store):
    _refused(database, lambda: store.add(_container("eee4", "new")))
    assert not store.name_is_taken("new")
    store.add(_container("eee4", "new"))
    assert store.get("eee4").name == "new"


def test_a_refused_record_leaves_the_old_one(database, store):
    web = store.get("web")
    before = web.record
    _refused(database, lambda: store.save_record(web, msgspec.structs.replace(before, image_reference="other")))
    assert web.record is before


def _using(id_, name, *, volume="", network=""):
    container = _container(id_, name)
    mounts = [MountPlan(type="volume", destination="/v", name=volume)] if volume else []
    endpoints = {network: EndpointSettings()} if network else {}
    container.record = msgspec.structs.replace(container.record, mounts=mounts, endpoints=endpoints)
    return container


def test_references_follow_the_record_and_the_state(database, store):
    references = ObjectReferences(database)
    web = _using("eee1", "user", volume="data", network="net")
    store.add(web)
    assert references.volume_users("data") == [ObjectUser(web.id, running=False)]
    web.state = RunState(Status.RESTARTING)
    store.save_state(web)
    assert references.network_users("net") == [ObjectUser(web.id, running=True)]
    store.save_record(web, msgspec.structs.replace(web.record, endpoints={}))
    assert references.network_users("net") == []
    assert len(references.image_users("sha256:0")) == len(store)
    store.delete_container(web)
    assert references.volume_users("data") == []


def test_references_of_an_older_database_are_made_from_the_records(database, store):
    web = _using("eee1", "user", volume="data")
    store.add(web)
    database.rows("DELETE FROM object_references")
    again = ContainerStore(database)
    assert len(again.reference_differences()) == len(again)
    again.repair_references()
    assert again.reference_differences() == []
    assert ObjectReferences(database).volume_users("data") == [ObjectUser(web.id, running=False)]


def test_references_of_no_container_go_and_those_of_a_damaged_record_stay(database, store):
    web = _using("eee1", "user", volume="data")
    store.add(web)
    references = ObjectReferences(database)
    references.replace_references("0" * 64, [ObjectReference(ObjectKind.VOLUME, "gone")], running=True)
    database.rows("UPDATE containers SET record = x'7b' WHERE id = ?", (web.id,))
    database.rows("DELETE FROM object_references WHERE kind = 'image'")
    ContainerStore(database).repair_references()
    assert references.volume_users("gone") == []
    assert references.volume_users("data") == [ObjectUser(web.id, running=True)]
    assert ObjectUser(web.id, running=True) in references.image_users("sha256:0")


@pytest.mark.parametrize("column", ["record", "state"])
def test_a_record_of_a_newer_engine_keeps_only_its_container_down(database, store, caplog, column):
    web = store.get("web")
    database.rows(
        f"UPDATE containers SET {column} = replace({column}, '\"document_version\":1', '\"document_version\":2') "
        "WHERE id = ?",
        (web.id,),
    )
    again = ContainerStore(database)
    assert {one.name for one in again} == {"db", "abc"}
    assert again.damaged == {web.id}
    assert again.name_is_taken("web")
    newer = "was written by a newer darse: its document version is 2, and this darse reads 1 at most"
    assert f"record {web.id} of table containers {newer}; all else works" in caplog.text
    assert database.damaged["containers", web.id] == Damage(newer, "upgrade darse")
