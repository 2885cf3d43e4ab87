"""A container's streams on this terminal, on an engine of canned answers: what a real one shows for an instant only."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from darse.api.multiplexing import frames
from darse.cli.errors import ApiError, ConnectionLost
from darse.cli.terminal import attach
from darse.client.requests import ApiRequest, AttachRequest
from tests.unit.cli.fake import FakeClient


class _ReturningClient(FakeClient):
    """An engine that went away after the container was attached, and came back while the container ends."""

    met = True

    def __init__(self, refusal: ApiError, *, paused: bool = False) -> None:
        state = {"Running": True, "Paused": paused, "ExitCode": 0}
        log = [frames([(1, b"2026-11-28T18:00:00.000000001Z the last\n")])]
        super().__init__({("GET", "/containers/c/json"): {"State": state}, ("GET", "/containers/c/logs"): log})
        self._waits: list[Any] = [ConnectionLost("the engine went away"), {"StatusCode": 7}]
        self._attaches: list[ApiError | None] = [None, refusal]

    def open(self, request: ApiRequest[Any, Any]) -> Any:
        if request.path == "/containers/c/wait":
            return _Waiting(self._waits.pop(0))
        return super().open(request)

    def attach(self, _: AttachRequest) -> tuple[socket.socket, None]:
        refusal = self._attaches.pop(0)
        if refusal is not None:
            raise refusal
        return socket.socket(), None

    def comes_back(self, _: float) -> bool:
        return True


class _Waiting:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def json(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class _Session:
    """A session whose connection ends at once."""

    detached = False
    redraw = False

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def run(self, *_: Any) -> None:
        pass


def _follow(client: FakeClient) -> int:
    return attach.follow(
        client,  # type: ignore[arg-type]
        "c",
        name="c",
        tty=False,
        stdin=False,
        proxy_signals=False,
        condition="next-exit",
    )


@pytest.mark.parametrize("status", [409, 404], ids=["ending", "removed"])
def test_a_container_that_ends_as_the_engine_comes_back_has_its_status(
    status: int, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(attach, "Session", _Session)
    client = _ReturningClient(ApiError("the container is stopping", status))
    assert _follow(client) == 7
    assert b"the last\n" in capfdbinary.readouterr().out


@pytest.mark.parametrize(("status", "paused"), [(500, False), (409, True)])
def test_another_refusal_to_attach_again_is_told(status: int, paused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "Session", _Session)
    with pytest.raises(ApiError, match="refused"):
        _follow(_ReturningClient(ApiError("refused", status), paused=paused))
