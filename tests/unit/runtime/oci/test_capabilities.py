from __future__ import annotations

import pytest

from darse.core.errors import InvalidParameter
from darse.runtime.oci.capabilities import ALL, DEFAULT, check, effective

EVERY = frozenset(ALL)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], set(DEFAULT)),
        (["net_admin"], [], {*DEFAULT, "CAP_NET_ADMIN"}),
        (["CAP_NET_ADMIN"], ["chown"], {*DEFAULT, "CAP_NET_ADMIN"} - {"CAP_CHOWN"}),
        ([], ["ALL"], set()),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        (["ALL"], [], set(ALL)),
        (["all"], ["SYS_ADMIN"], set(ALL) - {"CAP_SYS_ADMIN"}),
        (["SYS_TIME"], ["SYS_TIME"], set(DEFAULT)),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert effective(add, drop, EVERY) == [name for name in ALL if name in expected]


def test_privileged_has_what_the_engine_has() -> None:
    assert effective([], ["ALL"], EVERY - {"CAP_SYS_RESOURCE"}, privileged=True) == [
        name for name in ALL if name != "CAP_SYS_RESOURCE"
    ]


def test_what_the_engine_lacks_is_left_out_of_sets_and_refused_by_name() -> None:
    assert "CAP_SYS_RESOURCE" not in effective(["ALL"], [], EVERY - {"CAP_SYS_RESOURCE"})
    check(["ALL"], [], EVERY - {"CAP_SYS_RESOURCE"})
    with pytest.raises(InvalidParameter, match="invalid CapAdd: capability not supported by your kernel or not avail"):
        check(["sys_resource"], [], EVERY - {"CAP_SYS_RESOURCE"})


def test_unknown_names_are_refused_in_docker_s_words() -> None:
    with pytest.raises(InvalidParameter, match=r'^invalid CapAdd: unknown capability: "CAP_FLY"$'):
        check(["fly"], [], EVERY)
    with pytest.raises(InvalidParameter, match=r'^invalid CapDrop: unknown capability: "CAP_FLY"$'):
        check([], ["CAP_FLY"], EVERY)
