"""The database's transactions."""

import pytest

from darse.engine.state import Schema, State

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


def test_durability_comes_back_after_a_light_transaction(state):
    full = state.row("PRAGMA synchronous")
    _add(state, "light", durable=False)
    assert state.row("PRAGMA synchronous") == full
    with pytest.raises(RuntimeError), state.transaction(durable=False):
        raise RuntimeError
    assert state.row("PRAGMA synchronous") == full


def test_a_light_transaction_inside_a_durable_one_is_as_durable(state):
    with state.transaction():
        _add(state, "light", durable=False)
        assert state.row("PRAGMA synchronous") == (2,)
    assert _names(state) == ["light"]


def test_a_step_is_applied_once(state, tmp_path):
    again = State(tmp_path / "state.sqlite", [Schema("room", (*SCHEMA.steps, "CREATE TABLE more (name TEXT)"))])
    assert again.rows("SELECT * FROM more") == []
    again.close()
