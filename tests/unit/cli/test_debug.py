"""`darse -D`: what was asked of the engine, and how long it took."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from darse.client import EngineEndpoint
from darse.client.blocking import Client
from darse.client.requests import containers


def _answer(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")


@pytest.mark.parametrize("debug", [True, False])
def test_requests_are_printed(debug: bool, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        answering = threading.Thread(target=_answer, args=(listener,))
        answering.start()
        headers = {"X-Registry-Auth": "secret"}
        client = Client(EngineEndpoint(f"unix://{tmp_path}/s"), headers, debug=debug)
        assert client.do(containers.list_containers(all=True)) == []
        answering.join()
    printed = capsys.readouterr()
    assert printed.out == ""
    line = rf"debug: GET unix://{tmp_path}/s /v1\.\d+/containers/json\?all=1: 200 in \d+\.\d ms\n"
    assert re.fullmatch(line if debug else "", printed.err), printed.err
