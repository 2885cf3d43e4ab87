"""Users, their roles and passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("argon2", reason="argon2-cffi is not installed: `make setup-test` installs it")

from darse.web.accounts import AccountError, Accounts, Role, read_accounts, remove_account, set_account

PASSWORD = "correct horse"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    set_account(path, "alice", "operate", PASSWORD)
    return path


async def test_a_password_is_right_or_not(users: Path) -> None:
    accounts = Accounts(users)
    found = await accounts.check("alice", PASSWORD)
    assert found is not None
    assert (found.name, found.role) == ("alice", Role.OPERATE)
    assert await accounts.check("alice", PASSWORD + " ") is None
    assert await accounts.check("bob", PASSWORD) is None
    assert await accounts.check("alice", "x" * 2000) is None


async def test_without_a_file_nobody_has_a_password() -> None:
    assert await Accounts(None).check("alice", PASSWORD) is None


def test_the_file_has_hashes_and_is_its_owners(users: Path) -> None:
    assert users.read_text().startswith("alice:operate:$argon2id$")
    assert PASSWORD not in users.read_text()
    assert users.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_others_can_read_is_refused(users: Path) -> None:
    users.chmod(0o640)
    with pytest.raises(AccountError, match="chmod 600"):
        await Accounts(users).check("alice", PASSWORD)


async def test_users_are_changed_and_removed(users: Path) -> None:
    set_account(users, "bob", "look", "another one")
    set_account(users, "alice", "administrate", "a new one")
    assert {name: one.role for name, one in read_accounts(users).items()} == {
        "alice": Role.ADMINISTRATE,
        "bob": Role.LOOK,
    }
    assert await Accounts(users).check("alice", PASSWORD) is None
    remove_account(users, "alice")
    assert list(read_accounts(users)) == ["bob"]
    with pytest.raises(AccountError, match="no user alice"):
        remove_account(users, "alice")


@pytest.mark.parametrize(
    ("name", "role", "password"),
    [
        ("a:b", "look", PASSWORD),
        ("", "look", PASSWORD),
        ("a\nb", "look", PASSWORD),
        ("a", "root", PASSWORD),
        ("a", "look", "short"),
    ],
)
def test_what_is_not_right_is_not_written(tmp_path: Path, name: str, role: str, password: str) -> None:
    with pytest.raises(AccountError):
        set_account(tmp_path / "users", name, role, password)
    assert not (tmp_path / "users").exists()


@pytest.mark.parametrize("line", ["alice", "alice:look", "alice:root:x", ":look:x", "a b:look:x"])
def test_a_line_that_is_not_right_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"# users\n\n{line}\n")
    path.chmod(0o600)
    with pytest.raises(AccountError, match="users:3: a line is NAME:ROLE:HASH"):
        read_accounts(path)


async def test_a_hash_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("alice:look:plain\n")
    path.chmod(0o600)
    with pytest.raises(AccountError, match="no Argon2 hash"):
        await Accounts(path).check("alice", PASSWORD)
