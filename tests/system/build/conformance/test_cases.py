"""Every row of the conformance tables, by `POST /build`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.build_cases import Case, check
from tests.support.engine import Engine
from tests.system.build.conformance import configuration, errors, files, processes, stages, trees

_CASES = [
    pytest.param(case, id=f"{module.__name__.rpartition('.')[2]}: {case.name}")
    for module in (files, configuration, errors, processes, stages, trees)
    for case in module.CASES
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine.start()
    found.docker("pull", "-q", "builtin/busybox").ok()
    yield found
    found.close()


@pytest.mark.parametrize("case", _CASES)
def test_a_dockerfile_comes_to_what_its_row_says(engine: Engine, case: Case) -> None:
    check(engine.api, case)
