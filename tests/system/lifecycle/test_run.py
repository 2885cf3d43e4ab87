"""run: what it prints, what it returns, what it takes from its options."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading

import pytest
from tests.support.engine import BUSYBOX, Client
from tests.support.waiting import wait_until


def test_prints_what_the_program_prints(cli: Client) -> None:
    done = cli("run", "--rm", BUSYBOX, "echo", "hi").ok()
    assert (done.out, done.err) == ("hi\n", "")


def test_rm_leaves_no_container(cli: Client) -> None:
    cli("run", "--rm", BUSYBOX, "true").ok()
    wait_until(lambda: cli("ps", "-aq").ok().out == "", what="the container's removal")


def test_keeps_output_and_errors_apart(cli: Client) -> None:
    done = cli("run", "--rm", BUSYBOX, "sh", "-c", "echo out; echo err >&2").ok()
    assert (done.out, done.err) == ("out\n", "err\n")


def test_hello_world(cli: Client) -> None:
    assert "Hello from darse!" in cli("run", "--rm", "builtin/hello-world").ok().out


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["/etc/passwd"], 126),
        (["no-such-program"], 127),
        (["/no/such/program"], 127),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$; sleep 10"], 143),
    ],
    ids=["success", "failure", "not executable", "not found", "path not found", "killed", "terminated"],
)
def test_exit_status(cli: Client, command: list[str], status: int) -> None:
    # A shell as pid 1 would not die of its own signals: hence a child, whose status the shell passes on.
    if "kill" in command[-1]:
        command = ["sh", "-c", f'sh -c "{command[-1].replace("$$", chr(92) + "$$")}"; exit $?']
    assert cli("run", "--rm", BUSYBOX, *command).status == status


def test_exit_status_of_an_unknown_flag(cli: Client) -> None:
    done = cli("run", "--no-such-flag", BUSYBOX, "true")
    assert done.status == 125
    assert "unknown flag: --no-such-flag" in done.err


def test_exit_status_of_an_unknown_image(cli: Client) -> None:
    done = cli("run", "--rm", "no-such-image:ever", "true")
    assert done.status == 125
    assert "Unable to find image 'no-such-image:ever' locally" in done.err


def test_exit_status_of_a_name_in_use(cli: Client) -> None:
    cli("run", "-d", "--name", "taken", BUSYBOX, "sleep", "100").ok()
    done = cli("run", "--name", "taken", BUSYBOX, "true")
    assert done.status == 125
    assert 'Conflict. The container name "/taken" is already in use by container' in done.err


def test_failed_start_leaves_a_created_container(cli: Client) -> None:
    assert cli("run", "--name", "broken", BUSYBOX, "no-such-program").status == 127
    state = json.loads(cli("inspect", "-f", "{{json .State}}", "broken").ok().out)
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    assert "no-such-program" in state["Error"]


def test_input_from_a_pipe(cli: Client) -> None:
    assert cli("run", "-i", "--rm", BUSYBOX, "wc", "-c", input="twelve bytes").ok().line == "12"


def test_without_i_the_input_is_empty(cli: Client) -> None:
    assert cli("run", "--rm", BUSYBOX, "wc", "-c", input="not passed on").ok().line == "0"


def test_fifty_megabytes_in_and_out_unchanged(cli: Client) -> None:
    data = os.urandom(1 << 20) * 50
    done = cli("run", "-i", "--rm", BUSYBOX, "cat", input=data, timeout=120).ok()
    assert hashlib.sha256(done.raw).hexdigest() == hashlib.sha256(data).hexdigest()


def test_fifty_megabytes_of_input_arrive(cli: Client) -> None:
    data = os.urandom(1 << 20) * 50
    done = cli("run", "-i", "--rm", BUSYBOX, "sha256sum", input=data, timeout=120).ok()
    assert done.out.split()[0] == hashlib.sha256(data).hexdigest()


def test_output_that_ends_long_after_the_input(cli: Client) -> None:
    script = "cat >/dev/null; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    assert cli("run", "-i", "--rm", BUSYBOX, "sh", "-c", script, input="x").ok().out.endswith("line 19999\n")


def test_detached_prints_the_id(cli: Client) -> None:
    container = cli("run", "-d", BUSYBOX, "sleep", "100").ok().line
    assert len(container) == 64
    assert container in cli("ps", "-q", "--no-trunc").ok().out


def test_signals_are_passed_on(cli: Client) -> None:
    script = 'trap "echo got it; exit 7" USR1; echo ready; while :; do sleep 0.1; done'
    process = cli.popen("run", "--rm", BUSYBOX, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (b"got it\n", 7)


def test_cidfile(cli: Client, tmp_path) -> None:
    cli("run", "--cidfile", str(tmp_path / "id"), BUSYBOX, "true").ok()
    assert (tmp_path / "id").read_text() == cli("ps", "-aq", "--no-trunc").ok().line


def test_environment(cli: Client, tmp_path) -> None:
    (tmp_path / "env").write_text("# a comment\nFROM_FILE=a b\nFROM_HOST\n")
    done = cli(
        *("run", "--rm", "-e", "ONE=1", "-e", "EMPTY=", "-e", "UNSET", "--env-file", str(tmp_path / "env")),
        *(BUSYBOX, "env"),
        env={"FROM_HOST": "host"},
    ).ok()
    lines = done.out.splitlines()
    assert {"ONE=1", "EMPTY=", "FROM_FILE=a b", "FROM_HOST=host", "HOME=/root"} <= set(lines)
    assert any(line.startswith("PATH=") for line in lines)
    assert not any(line.startswith("UNSET") for line in lines)


def test_working_directory_is_made(cli: Client) -> None:
    assert cli("run", "--rm", "-w", "/made/for/it", BUSYBOX, "pwd").ok().line == "/made/for/it"


def test_entrypoint(cli: Client) -> None:
    assert cli("run", "--rm", "--entrypoint", "echo", BUSYBOX, "a", "b").ok().line == "a b"


def test_labels_from_flag_and_file(cli: Client, tmp_path) -> None:
    (tmp_path / "labels").write_text("two=2\n")
    cli("create", "--name", "labelled", "-l", "one=1", "--label-file", str(tmp_path / "labels"), BUSYBOX).ok()
    labels = json.loads(cli("inspect", "-f", "{{json .Config.Labels}}", "labelled").ok().out)
    assert labels["one"] == "1"
    assert labels["two"] == "2"


def test_many_at_once(cli: Client) -> None:
    outputs: list[str] = []

    def run(number: int) -> None:
        outputs.append(cli("run", "--rm", BUSYBOX, "echo", str(number)).ok().line)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == [str(number) for number in range(8)]
