"""The database's transactions."""

import sqlite3

import pytest

from darse.core.errors import NoSpace, Unavailable
from darse.core.state import Schema, State

SCHEMA = Schema("room", ("CREATE TABLE things (name TEXT PRIMARY KEY)",))


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite", [SCHEMA])
    yield state
    state.close()


def _add(state, name, **options):
    with state.transaction(**options) as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))


def _names(state):
    return [name for (name,) in state.rows("SELECT name FROM things ORDER BY name")]


def test_an_exception_takes_back_all_of_it(state):
    with pytest.raises(RuntimeError):
        _add_and_fail(state)
    assert _names(state) == []


def _add_and_fail(state):
    with state.transaction():
        _add(state, "inner")
        raise RuntimeError


def test_what_is_not_durable_is_there_for_the_next_engine(state, tmp_path):
    _add(state, "light", durable=False)
    other = State(tmp_path / "state.sqlite", [SCHEMA])
    assert _names(other) == ["light"]
    other.close()


def test_a_step_is_applied_once(state, tmp_path):
    again = State(tmp_path / "state.sqlite", [Schema("room", (*SCHEMA.steps, "CREATE TABLE more (name TEXT)"))])
    assert again.rows("SELECT * FROM more") == []
    again.close()


# Memory follows the rows


def _fill(state):
    """No page more: what needs one fails as on a full disk."""
    (pages,) = state.row("PRAGMA page_count")
    state.row(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_is_told_in_words_and_changes_nothing(state, tmp_path):
    _fill(state)
    with pytest.raises(NoSpace, match=f"no space left on device: {tmp_path}"):
        _add(state, "x" * 20_000)
    assert not state.in_transaction
    assert _names(state) == []
    _add(state, "small")
    assert _names(state) == ["small"]


def test_a_full_disk_has_the_reserve_tended(state):
    tended = []

    class Reserve:
        def tend(self):
            assert not state.in_transaction
            tended.append(self)

    reserve = Reserve()
    state.rely_on(reserve)
    _fill(state)
    with pytest.raises(NoSpace):
        _add(state, "x" * 20_000)
    assert tended == [reserve]


def test_a_commit_that_fails_is_rolled_back(tmp_path):
    # A deferred constraint is one way to have COMMIT itself fail, and SQLite leaves the transaction open then.
    schema = Schema(
        "room", (*SCHEMA.steps, "CREATE TABLE uses (name TEXT REFERENCES things DEFERRABLE INITIALLY DEFERRED)")
    )
    state = State(tmp_path / "other.sqlite", [schema])
    called = []

    def uses_nothing():
        with state.transaction() as connection:
            connection.execute("INSERT INTO uses VALUES ('nobody')")
            state.on_commit(lambda: called.append("commit"))
            state.on_rollback(lambda: called.append("rollback"))

    with pytest.raises(sqlite3.IntegrityError):
        uses_nothing()
    assert called == ["rollback"]
    _add(state, "next")
    assert _names(state) == ["next"]
    assert called == ["rollback"]
    state.close()


def test_a_transaction_that_cannot_begin_leaves_none_open(state, tmp_path):
    other = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    state.row("PRAGMA busy_timeout=0")
    with pytest.raises(Unavailable, match="in use by another program"):
        _add(state, "busy", durable=False)
    assert not state.in_transaction
    other.execute("ROLLBACK")
    other.close()
    _add(state, "free")
    assert _names(state) == ["free"]


def test_what_follows_a_change_is_called_after_the_outer_commit(state):
    called = []
    with state.transaction():
        with state.transaction():
            state.on_commit(lambda: called.append("commit"))
            state.on_rollback(lambda: called.append("rollback"))
        assert called == []
    assert called == ["commit"]
    state.on_commit(lambda: called.append("at once"))
    assert called == ["commit", "at once"]


def test_undo_goes_backwards(state):
    called = []

    def fails():
        with state.transaction():
            state.on_rollback(lambda: called.append(1))
            state.on_rollback(lambda: called.append(2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert called == [2, 1]


def test_what_fails_after_the_commit_makes_no_failure_of_the_change(state, caplog):
    called = []
    with state.transaction():
        state.on_commit(lambda: 1 / 0)
        state.on_commit(lambda: called.append("next"))
    assert called == ["next"]
    assert "ZeroDivisionError" in caplog.text
