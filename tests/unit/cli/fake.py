"""An engine of canned answers, for tests of what commands print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from darse.cli.command_line import index
from darse.cli.command_line.flags import parse
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError
from darse.cli.settings.config import Settings
from darse.client.requests import ApiRequest


class FakeStream:
    """The response of a stream."""

    def __init__(self, messages: list[Any]) -> None:
        self._messages = messages

    def messages(self) -> Iterator[Any]:
        return iter(self._messages)

    def json(self) -> Any:
        return next(iter(self._messages), None) if isinstance(self._messages, list) else self._messages

    def close(self) -> None:
        """Nothing is open."""

    def pieces(self) -> Iterator[bytes]:
        return iter(self._messages)


class FakeClient:
    """Answers by (method, path); remembers what it was asked."""

    def __init__(self, answers: dict[tuple[str, str], Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, dict[str, Any], Any]] = []

    def do(self, request: ApiRequest[Any, Any]) -> Any:
        body = request.body if request.content is None else b"".join(request.content)
        given = {key: value for key, value in request.query.items() if value not in (None, False, [])}
        self.asked.append((request.method, request.path, given, body))
        answer = self.answers.get((request.method, request.path))
        if answer is None:
            raise ApiError(f"No such object: {request.path}", 404)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def open(self, request: ApiRequest[Any, Any]) -> FakeStream:
        return FakeStream(self.do(request))


def run(line: list[str], answers: dict[tuple[str, str], Any], config: dict[str, Any] | None = None) -> FakeClient:
    """Run a command line on canned answers; errors are raised as CliError."""
    found = index.resolve(line)
    assert found is not None
    typed, path, rest = found
    command, function = index.COMMANDS[path].load(path)
    options, arguments = parse(command.typed_as(typed), rest)
    settings = Settings()
    settings._file = config or {}
    invocation = Invocation(typed, options, arguments, settings)
    invocation._client = client = FakeClient(answers)
    function(invocation)
    return client
