"""The command speaks one version of the API, and that of an older engine when there is one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from darse.cli.errors import ApiError
from darse.client import EngineEndpoint
from darse.client.blocking import Client
from darse.client.requests import images, system
from tests.support.fake_engine import Answer, FakeEngine


@pytest.mark.parametrize("api", ["1.24", "1.47", "1.51", "1.55"])
def test_older_engines_are_spoken_to_in_their_version(tmp_path: Path, api: str) -> None:
    with FakeEngine(tmp_path, api) as engine, closing(Client(EngineEndpoint(engine.host))) as client:
        engine.answers["GET", "/info"] = {"Name": "it"}
        for _ in range(2):
            assert client.do(system.info()) == {"Name": "it"}
    assert len(engine.asked) == (2 if api in ("1.51", "1.55") else 3)


def test_an_upload_to_an_older_engine_comes_whole(tmp_path: Path) -> None:
    with FakeEngine(tmp_path, "1.47") as engine, closing(Client(EngineEndpoint(engine.host))) as client:
        engine.answers["POST", "/images/load"] = Answer([{"stream": "x"}])
        client.open(images.load(iter([b"a", b"b"]))).body()
    assert engine.asked[-1].body == b"ab"
    assert [one.path for one in engine.asked].count("/images/load") == 1


def test_other_refusals_are_not_asked_again(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine, closing(Client(EngineEndpoint(engine.host))) as client:
        engine.answers["GET", "/info"] = Answer({"message": "no"}, 400)
        with pytest.raises(ApiError, match="no"):
            client.do(system.info())
    assert len(engine.asked) == 1


def test_a_client_closes_what_was_not_read_to_its_end(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["GET", "/info"] = {"Name": "it"}
        with closing(Client(EngineEndpoint(engine.host))) as client:
            responses = [client.open(system.info()) for _ in range(2)]
    assert all(response._connection.is_closed() for response in responses)
