from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.errors import InvalidParameter
from darse.runtime.oci.user import ResolvedUser, lookup_user

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false

ada:x:1000:1000:Ada,,,:/home/ada:/bin/sh
1234:x:7:7::/seven:/bin/sh
short:x:9:9
broken:x:none:0::/:/bin/sh
huge:x:99999999999999:0::/:/bin/sh
nobody:x:4294967294:4294967294::/nowhere:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
ada:x:1000:
video:x:44:ada,daemon
audio:x:29:ada
bad:x:many:ada
5678:x:8:
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ResolvedUser(0, 0, (), "/root")),
        ("root", ResolvedUser(0, 0, (), "/root")),
        ("ada", ResolvedUser(1000, 1000, (44, 29), "/home/ada")),
        ("1000", ResolvedUser(1000, 1000, (44, 29), "/home/ada")),
        ("ada:video", ResolvedUser(1000, 44, (), "/home/ada")),
        ("ada:77", ResolvedUser(1000, 77, (), "/home/ada")),
        ("4242", ResolvedUser(4242, 0, (), "/")),
        ("4242:4343", ResolvedUser(4242, 4343, (), "/")),
        ("short", ResolvedUser(9, 9, (), "/")),
        ("nobody", ResolvedUser(4294967294, 4294967294, (), "/nowhere")),
        # A number is always a uid, even if somebody has it as a name.
        ("1234", ResolvedUser(1234, 0, (), "/")),
        ("ada:5678", ResolvedUser(1000, 5678, (), "/home/ada")),
    ],
)
def test_users_are_found_as_docker_finds_them(root_fd: int, text: str, expected: ResolvedUser) -> None:
    assert lookup_user(root_fd, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bob", "unable to find user bob: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("huge", "unable to find user huge: no matching entries in passwd file"),
        ("ada:bob", "unable to find group bob: no matching entries in group file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("2147483648", "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, "uids and gids must be in range 0-2147483647"),
        ("ada:4294967296", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_errors_are_docker_s(root_fd: int, text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        lookup_user(root_fd, text)
    assert str(raised.value) == message


def test_group_add_takes_names_and_numbers_once(root_fd: int) -> None:
    assert lookup_user(root_fd, "daemon", ["audio", "44", "29", "5000"]).additional_gids == (44, 29, 5000)
    with pytest.raises(InvalidParameter, match="Unable to find group nix: no matching entries in group file"):
        lookup_user(root_fd, "", ["nix"])


def test_without_files_numbers_work_and_root_is_the_default(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert lookup_user(descriptor, "") == ResolvedUser(0, 0, (), "/")
        assert lookup_user(descriptor, "5:6") == ResolvedUser(5, 6, (), "/")
        with pytest.raises(InvalidParameter, match="no matching entries in passwd file"):
            lookup_user(descriptor, "ada")
    finally:
        os.close(descriptor)


def test_a_link_out_of_the_root_is_resolved_inside_it(root: Path, root_fd: int, tmp_path: Path) -> None:
    """The host's /etc/passwd has root's real entry; the link must not lead there."""
    outside = tmp_path.parent / "outside-passwd"
    outside.write_text("evil:x:0:0::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    for target in (
        str(outside),
        "../../outside-passwd",
        f"../../../../../../..{outside}",
        "/proc/self/root/etc/passwd",
    ):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(InvalidParameter, match="unable to find user evil"):
            lookup_user(root_fd, "evil")
        (root / "etc/passwd").unlink()


def test_what_is_no_regular_file_counts_as_absent(root: Path, root_fd: int) -> None:
    """Opening a fifo would wait for a writer for ever."""
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    (root / "etc/group").unlink()
    (root / "etc/group").mkdir()
    assert lookup_user(root_fd, "5", ["6"]) == ResolvedUser(5, 0, (6,), "/")


def test_only_a_line_feed_ends_a_line(root: Path, root_fd: int) -> None:
    (root / "etc/passwd").write_bytes(b"ada:x:1000:1000:\x0bmallory:x:0:0::/:\x0c\xc2\x85eve:x:0:0:/home/ada:/bin/sh\n")
    with pytest.raises(InvalidParameter):
        lookup_user(root_fd, "mallory")
    assert lookup_user(root_fd, "ada").uid == 1000


@given(passwd=st.binary(max_size=300), group=st.binary(max_size=300), text=st.text(max_size=12))
def test_any_file_gives_a_user_or_docker_s_error(
    tmp_path_factory: pytest.TempPathFactory, passwd: bytes, group: bytes, text: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_bytes(b"ada:x:1:1::/:\n" + passwd)
    (root / "etc/group").write_bytes(group)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = lookup_user(descriptor, text.encode(errors="ignore").decode().replace("\0", ""))
        assert 0 <= found.uid < 2**32 - 1
        assert all(0 <= gid < 2**32 - 1 for gid in (found.gid, *found.additional_gids))
        found.home.encode()
    except InvalidParameter:
        pass
    finally:
        os.close(descriptor)
