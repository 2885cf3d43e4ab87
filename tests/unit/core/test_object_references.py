"""Who uses what: answered by the table, and followed by what is known of the containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core.object_references import (
    SCHEMA,
    ObjectKind,
    ObjectReference,
    ObjectReferences,
    ObjectUser,
    ReferenceDifference,
    compare,
)
from darse.core.state import State

DATA = ObjectReference(ObjectKind.VOLUME, "data")
OWN, MOUNTED = ObjectReference(ObjectKind.IMAGE, "sha256:1"), ObjectReference(ObjectKind.MOUNTED_IMAGE, "sha256:1")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state.sqlite", [SCHEMA])
    yield state
    state.close()


@pytest.fixture
def references(state: State) -> ObjectReferences:
    return ObjectReferences(state)


def test_users_by_kind_and_the_oldest_first(references: ObjectReferences) -> None:
    references.replace_references("b", [DATA, OWN], running=False)
    references.replace_references("a", [DATA, ObjectReference(ObjectKind.NETWORK, "data")], running=True)
    assert references.volume_users("data") == [ObjectUser("b", running=False), ObjectUser("a", running=True)]
    assert references.network_users("data") == [ObjectUser("a", running=True)]
    assert references.volume_users("other") == []


def test_a_container_that_also_mounts_its_image_is_one_user(references: ObjectReferences) -> None:
    references.replace_references("a", [OWN, MOUNTED], running=False)
    references.replace_references("b", [MOUNTED], running=False)
    assert [user.container_id for user in references.image_users("sha256:1")] == ["a", "b"]


def test_users_of_all_images_are_counted_at_once(references: ObjectReferences) -> None:
    references.replace_references("a", [OWN, MOUNTED, DATA], running=False)
    references.replace_references("b", [MOUNTED], running=False)
    references.replace_references("c", [ObjectReference(ObjectKind.IMAGE, "sha256:2")], running=True)
    assert references.image_user_counts() == {"sha256:1": 2, "sha256:2": 1}


def test_references_are_replaced_and_deleted(references: ObjectReferences) -> None:
    references.replace_references("a", [DATA, OWN], running=False)
    references.replace_references("a", [OWN, MOUNTED], running=True)
    assert references.recorded() == {"a": {OWN: True, MOUNTED: True}}
    references.set_running("a", running=False)
    assert references.recorded() == {"a": {OWN: False, MOUNTED: False}}
    references.delete_references("a")
    assert references.recorded() == {}


def test_a_transaction_that_fails_changes_nothing(state: State, references: ObjectReferences) -> None:
    references.replace_references("a", [DATA], running=False)

    def fails() -> None:
        with state.transaction():
            references.replace_references("a", [OWN], running=True)
            assert references.volume_users("data") == []
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert references.recorded() == {"a": {DATA: False}}


def test_a_container_with_a_damaged_record_counts_as_running(state: State, references: ObjectReferences) -> None:
    references.replace_references("a", [DATA], running=False)
    state.is_damaged("containers", "a", "cut off")
    assert references.volume_users("data") == [ObjectUser("a", running=True)]


@pytest.mark.parametrize(
    ("expected", "recorded", "text"),
    [
        ({"a": {DATA: True}}, {"a": {DATA: True}}, None),
        ({"a": {}}, {}, None),
        ({"a": {DATA: True}}, {}, "volume data is lacking"),
        ({}, {"a": {OWN: False}}, "image sha256:1 is too much"),
        ({"a": {DATA: True}}, {"a": {DATA: False}}, "whether it runs is wrong"),
    ],
)
def test_differences(
    expected: dict[str, dict[ObjectReference, bool]],
    recorded: dict[str, dict[ObjectReference, bool]],
    text: str | None,
) -> None:
    differences = compare(expected, recorded)
    assert [str(one) for one in differences] == ([] if text is None else [text])
    assert all(isinstance(one, ReferenceDifference) and one.container_id == "a" for one in differences)
