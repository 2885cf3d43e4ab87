"""Which removals are refused: moby's table."""

import pytest

from darse.images import references
from darse.images.removal import ImageUser, names_meant, refusal

IMAGE = "sha256:" + "a" * 64
STOPPED, RUNNING = ImageUser("1" * 64, running=False), ImageUser("2" * 64, running=True)
ONE, TWO = ["docker.io/library/x:1"], ["docker.io/library/x:1", "docker.io/library/x:2"]


@pytest.mark.parametrize(
    ("names", "users", "by_name", "force", "words"),
    [
        (ONE, [], True, False, ""),
        (ONE, [], False, False, ""),
        (ONE, [STOPPED], True, True, ""),
        (ONE, [RUNNING], True, True, ""),
        (ONE, [STOPPED], False, True, ""),
        (TWO, [], False, True, ""),
        (
            ONE,
            [STOPPED],
            True,
            False,
            'conflict: unable to remove repository reference "x" (must force) - container 111111111111 '
            "is using its referenced image aaaaaaaaaaaa",
        ),
        (
            ONE,
            [STOPPED],
            False,
            False,
            "conflict: unable to delete aaaaaaaaaaaa (must be forced) - "
            "image is being used by stopped container 111111111111",
        ),
        (
            TWO,
            [STOPPED, RUNNING],
            False,
            True,
            "conflict: unable to delete aaaaaaaaaaaa (cannot be forced) - "
            "image is being used by running container 222222222222",
        ),
        (
            TWO,
            [STOPPED],
            False,
            False,
            "conflict: unable to delete aaaaaaaaaaaa (must be forced) - image is referenced in multiple repositories",
        ),
    ],
)
def test_removals_are_refused_as_by_docker(names, users, by_name, force, words):
    assert refusal(IMAGE, "x", names, users, by_name=by_name, force=force) == words


def test_a_digest_means_the_names_of_its_repository():
    names = [*TWO, "example.org/x:1"]
    assert names_meant(references.parse("x:2"), names) == TWO[1:]
    assert names_meant(references.parse(f"x@{IMAGE}"), names) == TWO
