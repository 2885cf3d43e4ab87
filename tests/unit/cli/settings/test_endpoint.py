"""Which engine is meant, and which of them is started on demand: that at the default address, however it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darse.cli.settings.config import DEFAULT_HOST, Settings
from darse.cli.settings.contexts import Context, Contexts

_ELSEWHERE = "unix:///run/elsewhere.sock"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("DARSE_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    found = Settings()
    found.directory = str(tmp_path)
    return found


@pytest.mark.parametrize("variable", ["DARSE_HOST", "DOCKER_HOST"])
@pytest.mark.parametrize(
    ("host", "is_default"), [(DEFAULT_HOST, True), ("unix://", True), (_ELSEWHERE, False), ("tcp://127.0.0.1", False)]
)
def test_the_default_address_in_the_environment(
    variable: str, host: str, is_default: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, host)
    endpoint = settings.endpoint()
    assert endpoint.host == (DEFAULT_HOST if is_default else host)
    assert (endpoint.is_default, endpoint.start is not None) == (is_default, is_default)


@pytest.mark.parametrize(("host", "is_default"), [(DEFAULT_HOST, True), (_ELSEWHERE, False)])
def test_the_default_address_by_a_flag_or_a_context(host: str, is_default: bool, settings: Settings) -> None:
    settings.host = host
    endpoint = settings.endpoint()
    assert (endpoint.host, endpoint.is_default, endpoint.start is not None) == (host, is_default, is_default)
    settings.host = ""
    Contexts(settings).save(Context("named", {"Name": "named", "Endpoints": {"docker": {"Host": host}}}, {}))
    Path(settings.directory, "config.json").write_text(json.dumps({"currentContext": "named"}))
    endpoint = settings.endpoint()
    assert (endpoint.host, endpoint.is_default, endpoint.start is not None) == (host, is_default, is_default)


def test_without_a_word_it_is_the_default(settings: Settings) -> None:
    endpoint = settings.endpoint()
    assert (endpoint.host, endpoint.is_default, endpoint.start is not None) == (DEFAULT_HOST, True, True)
