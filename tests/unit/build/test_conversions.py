"""What was converted before is not converted again, unless something of it is different."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from darse.build.conversion_thread import is_short
from darse.build.conversions import MOST, KnownConversions
from darse.build.dockerfile.convert import ConvertOptions, ResolvedImage
from darse.build.errors import BuildError

_SOURCE = "FROM base\nARG MODE=a\nENV MODE=$MODE\nCOPY . /src\n"


class _Bases:
    """Images with a variable, which may be moved or go."""

    def __init__(self) -> None:
        self.config: dict[str, Any] | None = {"os": "linux", "architecture": "amd64", "config": {"Env": ["A=1"]}}
        self.asked = 0

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        self.asked += 1
        if self.config is None:
            raise BuildError(f"{reference}: not found")
        return ResolvedImage(f"{reference}@sha256:{'a' * 64}", self.config)


def _options(**options: Any) -> ConvertOptions:
    return ConvertOptions(build_platform="linux/amd64", **options)


def test_the_same_is_converted_once_and_its_bases_are_looked_for_each_time() -> None:
    async def run() -> None:
        known, bases = KnownConversions(), _Bases()
        first = await known.convert(_SOURCE, _options(), bases)
        assert await known.convert(_SOURCE, _options(), bases) is first
        assert bases.asked == 2

    asyncio.run(run())


@pytest.mark.parametrize("change", ["source", "argument", "base"])
def test_what_is_different_is_converted_anew(change: str) -> None:
    async def run() -> None:
        known, bases = KnownConversions(), _Bases()
        first = await known.convert(_SOURCE, _options(), bases)
        source, options = _SOURCE, _options()
        if change == "source":
            source += "LABEL a=b\n"
        elif change == "argument":
            options = _options(build_arguments={"MODE": "b"})
        else:
            bases.config = {"os": "linux", "architecture": "amd64", "config": {"Env": ["A=2"]}}
        second = await known.convert(source, options, bases)
        assert second is not first
        assert second.image.config != first.image.config
        assert await known.convert(_SOURCE, _options(), _Bases()) is first

    asyncio.run(run())


def test_a_base_that_is_gone_is_an_error_of_its_line() -> None:
    async def run() -> None:
        known, bases = KnownConversions(), _Bases()
        await known.convert(_SOURCE, _options(), bases)
        bases.config = None
        with pytest.raises(BuildError, match="not found"):
            await known.convert(_SOURCE, _options(), bases)

    asyncio.run(run())


def test_the_oldest_are_forgotten() -> None:
    async def run() -> None:
        known, bases = KnownConversions(), _Bases()
        first = await known.convert(_SOURCE, _options(), bases)
        for number in range(MOST):
            await known.convert(f"FROM scratch\nLABEL number={number}\n", _options(), bases)
        assert await known.convert(_SOURCE, _options(), bases) is not first

    asyncio.run(run())


def test_what_grows_with_its_variables_is_not_short() -> None:
    assert is_short(_SOURCE)
    assert not is_short("FROM scratch\nENV A=x\n" + "ENV A=$A$A\n" * 20)
    assert not is_short("FROM scratch\n" + "LABEL a=b\n" * 1000)
