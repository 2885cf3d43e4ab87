"""Why a step was executed, in words."""

from __future__ import annotations

import pytest

from darse.build.graph import (
    CopyAction,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    ImageSource,
    LocalSource,
    MkfileAction,
    ProcessMeta,
)
from darse.build.graph.operations import Operation
from darse.build.history.causes import Cause, cause_of, changed_sources
from darse.build.history.records import StepRecord, StepState
from darse.build.solver import Outcome, OutcomeKind

_ROOT = (ExecMount("/", 0, output=0),)


def step(
    name: str,
    operation: Operation,
    *inputs: str,
    reason: str = "",
    changed: tuple[int, ...] = (),
    kind: OutcomeKind = OutcomeKind.EXECUTED,
    state: StepState = StepState.EXECUTED,
) -> StepRecord:
    outcome = Outcome(kind, "key", reason, changed)
    return StepRecord(
        vertex=f"vertex of {name}", name=name, state=state, inputs=inputs, operation=operation, outcome=outcome
    )


def run(*environment: str, command: str = "make", user: str = "") -> ExecOperation:
    return ExecOperation(ProcessMeta(("/bin/sh", "-c", command), environment, user=user), _ROOT)


COPY = FileOperation((FileAction(CopyAction(source="/a", destination="/b"), 0, 1, 0),))
BASE = step("FROM base", ImageSource(reference="base@sha256:1"))
CONTEXT = step("[internal] load build context", LocalSource(name="context"))
STEPS = {one.vertex: one for one in (BASE, CONTEXT)}


@pytest.mark.parametrize(
    ("old", "new", "details"),
    [
        (run("A=1"), run("A=2"), ("the variable A: '2', was '1'",)),
        (run(), run("A=2"), ("the variable A: '2', was not set",)),
        (run("A=1", "B=1"), run("B=1"), ("the variable A: not set, was '1'",)),
        (run(user="1"), run(user="2"), ("the user: '2', was '1'",)),
        (run(command="a"), run(command="b"), ('the command: \'["/bin/sh","-c","b"]\', was \'["/bin/sh","-c","a"]\'',)),
        (
            FileOperation((FileAction(MkfileAction(path="/a", data=b"one"), 0, -1, 0),)),
            FileOperation((FileAction(MkfileAction(path="/a", data=b"two"), 0, -1, 0),)),
            ("data: 'two', was 'one'",),
        ),
    ],
)
def test_an_operation_is_compared_with_that_of_the_build_before(
    old: Operation, new: Operation, details: tuple[str, ...]
) -> None:
    now = step("[2/2] STEP", new, BASE.vertex, reason="the operation is new")
    assert cause_of(now, STEPS, [step("[2/2] STEP", old)], {}) == Cause("the instruction is another one", details)


def test_the_same_step_is_that_of_the_name_then_of_the_place_then_of_the_text() -> None:
    now = step("[2/3] RUN a", run("A=1"), reason="the operation is new")
    by_text, by_place = step("[3/4] RUN a", run("A=2")), step("[2/3] RUN b", run("A=3"))
    by_name = step("[2/3] RUN a", run("A=4"))
    for before, was in (([by_text, by_place, by_name], 4), ([by_text, by_place], 3), ([by_text], 2)):
        assert f"was '{was}'" in cause_of(now, STEPS, before, {}).details[-1]
    assert cause_of(now, STEPS, [CONTEXT], {}) == Cause("it was not built before")


def test_inputs_that_changed_are_named_with_the_files_that_are_known() -> None:
    now = step("COPY a b", COPY, BASE.vertex, CONTEXT.vertex, reason="an input changed", changed=(0, 1))
    assert list(changed_sources(now)) == [(1, CONTEXT.vertex)]
    assert cause_of(now, STEPS, [], {CONTEXT.vertex: ["a: content"]}) == Cause(
        "what it takes from [internal] load build context changed; FROM base changed",
        ("a: content",),
        (BASE.vertex, CONTEXT.vertex),
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("the cache is not used for it", "the cache is not used for it"),
        ("an input was made anew", "made anew: FROM base"),
        ("its result is not there", "its result is not in the cache any more"),
    ],
)
def test_other_reasons(reason: str, words: str) -> None:
    assert cause_of(step("RUN", run(), BASE.vertex, reason=reason), STEPS, [], {}).text == words


def test_what_was_cached_says_how_it_was_found() -> None:
    cached = step("RUN", run(), kind=OutcomeKind.CACHED, state=StepState.CACHED)
    assert cause_of(cached, STEPS, [], {}).text == "the same operation on the same inputs"
    content = step("COPY", COPY, kind=OutcomeKind.CACHED_BY_CONTENT, state=StepState.CACHED)
    assert cause_of(content, STEPS, [], {}).text == "what it takes has the same content as before"
    unneeded = StepRecord(vertex="v", name="RUN", state=StepState.NOT_NEEDED)
    assert cause_of(unneeded, STEPS, [], {}).text == "a later step was in the cache"


def test_a_base_that_moved() -> None:
    moved = step("FROM base", ImageSource(reference="base@sha256:2"), reason="its result is not there")
    found = cause_of(moved, {}, [BASE], {})
    assert found == Cause("the base moved", ("the image: 'base@sha256:2', was 'base@sha256:1'",))
    assert cause_of(CONTEXT, {}, [CONTEXT], {}).text == "the client sent other files than before"
    assert cause_of(CONTEXT, {}, [], {}).text == "it was not used before"
