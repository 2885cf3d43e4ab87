"""The index that every request goes through."""

import msgspec
import pytest

from darse.containers.model import Container, Record, State, Status
from darse.containers.store import SCHEMA, ContainerStore
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.state import State as Database
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig


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
    return Container(record, State(status))


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "state.sqlite", [SCHEMA])
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
    store.delete(store.get("abc"))
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
    _refused(database, lambda: store.delete(web))
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
