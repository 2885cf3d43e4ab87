"""-it, attach, detach keys, exec -it: the parts that need a terminal."""

from __future__ import annotations

import json
import os
import socket
import termios
from collections.abc import Callable
from pathlib import Path

import pexpect
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until

PROMPT = "/ # "


def ended(terminal: pexpect.spawn) -> int:
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus


def wait_raw(terminal: pexpect.spawn) -> None:
    """Wait until the client has its terminal raw: before that, control keys are for the client itself."""
    wait_until(lambda: not termios.tcgetattr(terminal.child_fd)[3] & termios.ISIG, what="the raw terminal")


def test_shell_on_a_terminal(cli: Client) -> None:
    terminal = cli.terminal("run", "--rm", "-it", BUSYBOX, "sh")
    terminal.expect_exact(PROMPT)
    terminal.sendline("tty; echo $((6 * 7))")
    terminal.expect_exact("/dev/pts/0")
    terminal.expect_exact("42")
    terminal.sendline("exit 3")
    assert ended(terminal) == 3


def test_size_at_start_and_after_a_resize(cli: Client) -> None:
    terminal = cli.terminal("run", "--rm", "-it", BUSYBOX, "sh", rows=33, columns=111)
    terminal.expect_exact(PROMPT)

    def size() -> str:
        terminal.sendline("stty size")
        terminal.expect(r"(\d+ \d+)\r\n")
        return terminal.match[1].decode()

    wait_until(lambda: size() == "33 111", what="the terminal's size at start")
    terminal.setwinsize(44, 122)
    wait_until(lambda: size() == "44 122", what="the terminal's new size")
    terminal.sendline("exit")
    assert ended(terminal) == 0


def test_control_c_reaches_the_program(cli: Client) -> None:
    terminal = cli.terminal("run", "--rm", "-it", BUSYBOX, "sh", "-c", 'trap "exit 21" INT; echo ready; cat')
    terminal.expect_exact("ready")
    wait_raw(terminal)
    # A shell that is about to start cat would wait for one that was not told.
    terminal.sendline("line")
    terminal.expect_exact("line\r\nline\r\n")
    terminal.sendintr()
    assert ended(terminal) in (21, 130)


def test_detach_and_attach_again(cli: Client) -> None:
    terminal = cli.terminal("run", "-it", "--name", "left", BUSYBOX, "sh")
    terminal.expect_exact(PROMPT)
    terminal.sendline("x=kept")
    terminal.expect_exact(PROMPT)
    terminal.send("\x10\x11")
    assert ended(terminal) == 0
    assert cli("inspect", "-f", "{{.State.Running}}", "left").ok().line == "true"
    terminal = cli.terminal("attach", "left")
    wait_raw(terminal)
    terminal.sendline("echo value: $x")
    terminal.expect_exact("value: kept")
    terminal.sendline("exit 4")
    assert ended(terminal) == 4


def test_detach_keys_of_ones_own(cli: Client) -> None:
    terminal = cli.terminal("run", "-it", "--name", "own", "--detach-keys", "ctrl-a,x", BUSYBOX, "sh")
    terminal.expect_exact(PROMPT)
    terminal.send("\x01x")
    assert ended(terminal) == 0
    assert json.loads(cli("inspect", "-f", "{{json .State.Running}}", "own").ok().out) is True


def test_a_prefix_of_the_detach_keys_reaches_the_program(cli: Client) -> None:
    terminal = cli.terminal("run", "--rm", "-it", BUSYBOX, "sh", "-c", "stty raw -echo; echo ready; head -c 2 | od -c")
    terminal.expect_exact("ready")
    terminal.send("\x10z")
    terminal.expect(r"020\s+z")
    assert ended(terminal) == 0


def test_exec_on_a_terminal(cli: Client) -> None:
    cli("run", "-d", "--name", "host", BUSYBOX, "sleep", "100").ok()
    terminal = cli.terminal("exec", "-it", "host", "sh", rows=30, columns=100)
    terminal.expect_exact(PROMPT)

    def size() -> str:
        terminal.sendline("stty size")
        terminal.expect(r"(\d+ \d+)\r\n")
        return terminal.match[1].decode()

    wait_until(lambda: size() == "30 100", what="the terminal's size")
    terminal.setwinsize(31, 101)
    wait_until(lambda: size() == "31 101", what="the terminal's new size")
    terminal.sendline("exit 12")
    assert ended(terminal) == 12


def test_an_exec_that_is_left_runs_on(cli: Client) -> None:
    """And the command fails, as docker's does."""
    cli("run", "-d", "--name", "host", BUSYBOX, "sleep", "100").ok()
    for options, keys in (([], "\x10\x11"), (["--detach-keys", "ctrl-a"], "\x01")):
        terminal = cli.terminal("exec", "-it", *options, "host", "sh")
        terminal.expect_exact(PROMPT)
        terminal.send(keys)
        terminal.expect_exact("read escape sequence")
        assert ended(terminal) == 1
    assert cli("top", "host", "-o", "pid,comm").ok().out.split().count("sh") == 2


def test_two_attached_see_the_same(cli: Client) -> None:
    cli("run", "-dit", "--name", "shared", BUSYBOX, "sh").ok()
    first, second = cli.terminal("attach", "shared"), cli.terminal("attach", "shared")
    wait_raw(first)
    wait_raw(second)
    first.sendline("echo to $((1 + 1))")
    first.expect_exact("to 2")
    second.sendline("echo all $((2 + 2))")
    second.expect_exact("all 4")
    first.expect_exact("all 4")
    for terminal in (first, second):
        terminal.send("\x10\x11")
        # docker's attach calls it an error to be left so, and so do we.
        terminal.expect_exact("read escape sequence")
        assert ended(terminal) == 1
    assert cli("inspect", "-f", "{{.State.Running}}", "shared").ok().line == "true"


def test_log_of_a_terminal(cli: Client) -> None:
    cli("run", "-t", "--name", "logged", BUSYBOX, "echo", "hi").ok()
    assert cli("logs", "logged").ok().raw == b"hi\r\n"


def test_a_monitor_that_is_killed_leaves_no_socket(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.docker("run", "-dt", "--name", "one", BUSYBOX, "sleep", "1000").ok()
    # The parent of the container's process: where it makes the socket by which it is handed the terminal.
    pid = engine.api("GET", "/containers/one/json").json()["State"]["Pid"]
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    environment = Path(f"/proc/{monitor}/environ").read_bytes().split(b"\0")
    (directory,) = [Path(os.fsdecode(one)[7:]) for one in environment if one.startswith(b"TMPDIR=")]
    assert directory.parent == engine.exec_root / "tty"
    assert not directory.exists()
    directory.mkdir()
    left = directory / "conmon-term.A1B2C3"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(left))
    engine.kill9()
    engine.up()
    assert not directory.exists()
