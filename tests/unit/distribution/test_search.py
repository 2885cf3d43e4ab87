"""Where a search asks: mirrors have a part of the Hub only, so that the Hub is asked first."""

from __future__ import annotations

import pytest

from darse.distribution import client
from darse.distribution.client import RegistryClient, SearchResult
from darse.distribution.errors import RegistryError, Unreachable
from darse.distribution.hosts import RegistrySettings
from darse.distribution.session import RegistrySession

_HUB, _MIRROR = "https://index.docker.io", "https://mirror.example"


class Places:
    """Stands for what the places answer: results, or an error."""

    def __init__(self, **answers: list[SearchResult] | RegistryError) -> None:
        self.asked: list[str] = []
        self._answers = answers

    def __call__(self, session: RegistrySession, term: str, limit: int) -> list[SearchResult]:
        self.asked.append(session.endpoint.base)
        answer = self._answers["hub" if session.endpoint.base == _HUB else "mirror"]
        if isinstance(answer, RegistryError):
            raise answer
        return answer


def _search(monkeypatch: pytest.MonkeyPatch, places: Places) -> list[str]:
    monkeypatch.setattr(client, "_search", places)
    found = RegistryClient(RegistrySettings(mirrors=(f"{_MIRROR}/",))).search("docker.io", "redis", 2)
    return [one.name for one in found]


def test_the_hub_is_asked_though_there_is_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(hub=[SearchResult(name) for name in ("redis", "redis-stack", "more")])
    assert _search(monkeypatch, places) == ["redis", "redis-stack"]
    assert places.asked == [_HUB]


def test_a_mirror_is_looked_through_when_the_hub_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(hub=Unreachable("no way"), mirror=[SearchResult("redis")])
    assert _search(monkeypatch, places) == ["redis"]
    assert places.asked == [_HUB, _MIRROR]


@pytest.mark.parametrize("mirror", [[], Unreachable("the mirror is away")])
def test_a_mirror_that_has_nothing_does_not_speak_for_the_hub(
    mirror: list[SearchResult] | RegistryError, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match="no way"):
        _search(monkeypatch, Places(hub=Unreachable("no way"), mirror=mirror))
