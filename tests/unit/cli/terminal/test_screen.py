"""On a terminal the text of others is shown, and never obeyed; a pipe gets it as it is."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable

import pytest

from darse.cli.errors import CliError
from darse.cli.output.progress import display
from darse.cli.terminal import screen
from tests.unit.cli.fake import run

_EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f"
_SHOWN = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\x7f"


def _on_terminal(action: Callable[[], object]) -> str:
    """What `action` sends to standard output when that is a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    before = sys.stdout
    sys.stdout = screen.guarded(io.TextIOWrapper(os.fdopen(theirs, "wb"), encoding="utf-8", errors="surrogateescape"))
    try:
        action()
        sys.stdout.write("END\n")
        sys.stdout.flush()
        data = b""
        while not data.endswith(b"END\r\n"):
            data += os.read(ours, 65536)
        return data.removesuffix(b"END\r\n").decode(errors="surrogateescape").replace("\r\n", "\n")
    finally:
        sys.stdout.close()
        sys.stdout = before
        os.close(ours)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("naïve ✔ 漢字", "naïve ✔ 漢字"),
        (_EVIL, _SHOWN),
        ("a\rb\x00", "a\\x0db\\x00"),
        ("\u202eexe.txt\u2066", "\\u202eexe.txt\\u2066"),
        (b"\x9b31m\xff".decode(errors="surrogateescape"), "\\x9b31m\\xff"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert screen.visible(text) == shown


def test_visible_on_one_line() -> None:
    assert screen.visible("a\nb", one_line=True) == "a\\nb"


def test_a_terminal_shows_controls_and_obeys_only_ours() -> None:
    def action() -> None:
        sys.stdout.write(f"{_EVIL}\n")
        screen.control("\x1b[1mbold\x1b[0m\n")

    assert _on_terminal(action) == f"{_SHOWN}\n\x1b[1mbold\x1b[0m\n"


def test_a_pipe_gets_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert screen.guarded(sys.stdout) is sys.stdout
    sys.stdout.write(_EVIL)
    screen.control("\x1b[1m")
    assert capsys.readouterr().out == f"{_EVIL}\x1b[1m"


def test_tables_stay_tables() -> None:
    """An escape has its width in the table, and no cell can forge a row."""
    step = {
        "Id": "<missing>",
        "Created": 1_000_000_000,
        "Size": 0,
        "Comment": "",
        "CreatedBy": "RUN \x1b[8mx\nfake row",
    }
    steps = [step, {**step, "CreatedBy": "short"}]
    lines = _on_terminal(lambda: run(["history", "image"], {("GET", "/images/image/history"): steps})).splitlines()
    assert len(lines) == 3
    assert "RUN \\x1b[8mx\\nfake row" in lines[1]
    assert len({line.index("0B") for line in lines[1:]}) == 1


def _pull(status: str, **detail: object) -> dict[str, object]:
    return {"id": "aaaaaaaaaaaa", "status": status, "progressDetail": detail}


def test_layers_keep_their_lines() -> None:
    messages = [
        {"status": "Pulling from library/x", "id": "latest"},
        _pull("Pulling fs layer"),
        {**_pull("Pulling fs layer"), "id": "bbbbbbbbbbbb"},
        _pull("Downloading", current=50, total=100),
        {"status": "Digest: sha256:1"},
    ]
    bar = f"[{'=' * 25}>{' ' * 25}]"
    assert _on_terminal(lambda: display(messages)) == (
        "latest: Pulling from library/x\n"
        "\n\x1b[1A\x1b[2K\raaaaaaaaaaaa: Pulling fs layer \r\x1b[1B"
        "\n\x1b[1A\x1b[2K\rbbbbbbbbbbbb: Pulling fs layer \r\x1b[1B"
        f"\x1b[2A\x1b[2K\raaaaaaaaaaaa: Downloading {bar}      50B/100B\r\x1b[2B"
        "Digest: sha256:1\n"
    )


def test_progress_of_a_registry_cannot_move_the_cursor() -> None:
    text = _on_terminal(lambda: display([_pull(f"Pulling {_EVIL}"), {"status": _EVIL}, {"stream": f"{_EVIL}\n"}]))
    assert text.count(_SHOWN) == 3
    assert _EVIL not in text


def test_a_line_never_wraps() -> None:
    text = _on_terminal(lambda: display([_pull("x" * 500)]))
    assert "x…" in text
    assert text.count("x") < 120


def test_an_error_ends_it() -> None:
    def action() -> None:
        with pytest.raises(CliError, match="denied"):
            display([_pull("Waiting"), {"error": "x", "errorDetail": {"message": "denied"}}])

    assert "Waiting" in _on_terminal(action)
