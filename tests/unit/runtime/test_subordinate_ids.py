"""Whose subordinate ids `--userns-remap` means, and which they are."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest

from darse.core.errors import InvalidParameter
from darse.linux.proc.userns import IdMaps, IdRange
from darse.runtime.subordinate_ids import Subordinates, find_subordinates, first_free, read_maps

NOBODY = pwd.getpwnam("nobody")
NOGROUP = grp.getgrgid(NOBODY.pw_gid)
OWNERS = Subordinates(("alice", "1000"), ("staff", "50"))


@pytest.mark.parametrize("text", [f"nobody:{NOGROUP.gr_name}", f"{NOBODY.pw_uid}:{NOGROUP.gr_gid}"])
def test_by_name_and_by_number(text: str) -> None:
    assert find_subordinates(text) == Subordinates(
        ("nobody", str(NOBODY.pw_uid)), (NOGROUP.gr_name, str(NOGROUP.gr_gid))
    )


@pytest.mark.parametrize("text", ["root", "0", "root:root"])
def test_root_is_not_remapped(text: str) -> None:
    assert find_subordinates(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-such-user", "user no-such-user has no entry in /etc/passwd"),
        ("4123456789", "uid 4123456789 has no entry in /etc/passwd"),
        ("99999999999", "uid 99999999999 has no entry in /etc/passwd"),
        ("nobody:no-such-group", "group no-such-group has no entry in /etc/group"),
        ("nobody:", "invalid user/group specification string"),
        (":nogroup", "invalid user/group specification string"),
        ("a:b:c", "invalid user/group specification string"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        find_subordinates(text)


def read(tmp_path: Path, users: str, groups: str) -> IdMaps:
    (tmp_path / "subuid").write_text(users)
    (tmp_path / "subgid").write_text(groups)
    return read_maps(OWNERS, tmp_path / "subuid", tmp_path / "subgid")


def test_ranges_follow_each_other(tmp_path: Path) -> None:
    maps = read(tmp_path, "bob:1:5\nalice:100000:65536\n1000:300000:10\n", "alice:200000:65536\n")
    assert maps.users == (IdRange(0, 100000, 65536), IdRange(65536, 300000, 10))
    assert maps.groups == (IdRange(0, 200000, 65536),)
    assert maps.root == (100000, 200000)
    assert maps.last_group == 65535


def test_groups_by_the_groups_name(tmp_path: Path) -> None:
    assert read(tmp_path, "alice:1000:9", "staff:2000:9").groups == (IdRange(0, 2000, 9),)


def test_the_default_users_range_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("alice:100000:65536\nbob:165536:65536\n")
    (tmp_path / "b").write_text("alice:100000:65536\ncarol:300000:10\nbroken\n")
    assert first_free(tmp_path / "a") == 231072
    assert first_free(tmp_path / "a", tmp_path / "b") == 300010
    assert first_free(tmp_path / "none") == 100000


@pytest.mark.parametrize(
    ("users", "groups", "said"),
    [
        ("", "alice:1:2", 'no subuid ranges found for user "alice"'),
        ("alice:1:2", "# alice:1:2", 'no subgid ranges found for user "alice"'),
        ("alice:x:2", "alice:1:2", "malformed line"),
        ("alice:1", "alice:1:2", "malformed line"),
        ("alice:1:0", "alice:1:2", "malformed line"),
        ("alice:1:4294967295", "alice:1:2", "malformed line"),
        ("alice:2147483000:65536", "alice:1:2", "ids above 2147483647"),
        ("alice:0:65536", "alice:1:2", "the host's root"),
    ],
)
def test_files_that_will_not_do(tmp_path: Path, users: str, groups: str, said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        read(tmp_path, users, groups)
