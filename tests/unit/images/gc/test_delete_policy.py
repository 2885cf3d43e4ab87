"""Which removals are refused: moby's table."""

import pytest

from darse.core.object_references import ObjectUser
from darse.images import references
from darse.images.gc.delete_policy import DeleteContext, image_conflict, in_one_place, name_conflict, names_meant

IMAGE = "sha256:" + "a" * 64
STOPPED, RUNNING = ObjectUser("1" * 64, running=False), ObjectUser("2" * 64, running=True)
ONE, TWO = ["docker.io/library/x:1"], ["docker.io/library/x:1", "docker.io/library/x:2"]
DIGEST = f"docker.io/library/x@{IMAGE}"


@pytest.mark.parametrize(
    ("names", "users", "force", "words"),
    [
        (ONE, [], False, ""),
        (ONE, [STOPPED], True, ""),
        (ONE, [RUNNING], True, ""),
        (TWO, [RUNNING], False, ""),
        (
            ONE,
            [STOPPED],
            False,
            'conflict: unable to remove repository reference "x" (must force) - container 111111111111 '
            "is using its referenced image aaaaaaaaaaaa",
        ),
    ],
)
def test_the_only_name_is_kept_for_a_container(names, users, force, words):
    assert name_conflict("x", DeleteContext(IMAGE, names, users), force=force) == words


@pytest.mark.parametrize(
    ("names", "users", "children", "force", "words"),
    [
        (ONE, [], False, False, ""),
        (ONE, [STOPPED], False, True, ""),
        (TWO, [], False, True, ""),
        ([*ONE, DIGEST], [], False, False, ""),
        (
            TWO,
            [STOPPED, RUNNING],
            False,
            True,
            "(cannot be forced) - image is being used by running container 222222222222",
        ),
        (TWO, [STOPPED], False, False, "(must be forced) - image is referenced in multiple repositories"),
        (ONE, [STOPPED], False, False, "(must be forced) - image is being used by stopped container 111111111111"),
        (ONE, [RUNNING], True, True, "(cannot be forced) - image has dependent child images"),
    ],
)
def test_removals_are_refused_as_by_docker(names, users, children, force, words):
    wanted = f"conflict: unable to delete aaaaaaaaaaaa {words}" if words else ""
    assert image_conflict(DeleteContext(IMAGE, names, users, children), force=force) == wanted


def test_a_digest_means_the_names_of_its_repository():
    names = [*TWO, "example.org/x:1"]
    assert names_meant(references.parse("x:2"), names) == TWO[1:]
    assert names_meant(references.parse(f"x@{IMAGE}"), names) == TWO


def test_with_the_last_tag_of_a_repository_go_its_digests():
    assert names_meant(references.parse("x:1"), [*ONE, DIGEST, "example.org/x:1"]) == [*ONE, DIGEST]
    assert names_meant(references.parse("x:1"), [*TWO, DIGEST]) == ONE


def test_a_tag_and_its_digest_are_one_place():
    assert in_one_place([])
    assert in_one_place([DIGEST])
    assert in_one_place([*ONE, DIGEST])
    assert not in_one_place(TWO)
    assert not in_one_place([*ONE, DIGEST.replace("x", "y", 1)])
