"""The engine as a process: its options, listeners, signals, locks and logs."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.ports import free_port
from tests.support.waiting import wait_until, wait_while


def darsed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the engine's command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "darse.daemon", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_says_what_is_wrong_with_its_options() -> None:
    done = darsed("--no-such-flag")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "darsed: unknown flag: --no-such-flag\nSee 'darsed --help'.\n"


def test_validates_without_starting(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": true}')
    assert darsed("--config-file", str(file), "--validate").stderr == "configuration OK\n"
    file.write_text('{"dbug": true}')
    refused = darsed("--config-file", str(file), "--validate")
    assert refused.returncode == 1
    assert "the following directives don't match any configuration option: dbug" in refused.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"group": "no-such-group"}', "group no-such-group not found"),
        ('{"log-opts": {"nope": "1"}}', "unknown log opt 'nope' for json-file log driver"),
        ('{"userns-remap": "no-such-user"}', "user no-such-user has no entry in /etc/passwd"),
        ('{"default-ulimits": {"nope": {"Hard": 1, "Soft": 1}}}', "invalid ulimit type: nope"),
    ],
)
def test_validate_finds_what_a_start_refuses(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(text)
    for validate in (["--validate"], []):
        roots = ["--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec")]
        refused = darsed("--config-file", str(file), *roots, *validate)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_validate_finds_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("none")
    files = [f"--{one}={tmp_path}/file" for one in ("tlscacert", "tlscert", "tlskey")]
    refused = darsed("-H", "tcp://127.0.0.1:2376", "--tlsverify", *files, "--validate")
    assert refused.returncode == 1
    assert "cannot use the TLS certificates" in refused.stderr


def test_version_and_help() -> None:
    assert darsed("--version").stdout.startswith("darsed version ")
    assert "--data-root" in darsed("--help").stdout


def test_what_blocks_the_event_loop_fails_the_tests_of_an_engine() -> None:
    # One that is short enough to see is in every engine: of a millisecond.
    engine = Engine.start("--debug-loop-stalls=1")
    try:
        for number in range(5):
            engine.api("POST", f"/containers/create?name=one-{number}", {"Image": BUSYBOX})
        engine.api("GET", "/containers/json?all=1&size=1")
    finally:
        with pytest.raises(AssertionError, match=r"the event loop was blocked for \d+ ms"):
            engine.close()


def test_a_build_by_buildkits_protocol_is_told_what_builds(engine: Engine) -> None:
    refused = engine.api("POST", "/build?version=2")
    assert refused.status == 501
    assert "build with DOCKER_BUILDKIT=0, or with `darse build`" in refused.json()["message"]


def test_a_second_engine_on_the_same_roots_is_refused(engine: Engine, tmp_path: Path) -> None:
    other = ["--exec-root", str(tmp_path / "x")]
    assert "another engine runs on" in darsed("--data-root", str(engine.data_root), *other).stderr
    other = ["--data-root", str(tmp_path / "d")]
    assert "another engine runs on" in darsed("--exec-root", str(engine.exec_root), *other).stderr
    assert engine.api("GET", "/_ping").status == 200


def test_stops_in_order_and_leaves_containers_running(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.docker("run", "-d", "--name", "box", BUSYBOX, "sleep", "1000").ok()
    before = engine.api("GET", "/containers/box/json").json()["State"]["Pid"]
    with engine.docker.popen("logs", "-f", "box") as follower:
        begun = time.monotonic()
        assert engine.stop() == 0
        assert time.monotonic() - begun < 5, "a follower of a log kept the engine from stopping"
        follower.communicate(timeout=5)
    assert not engine.socket.exists()
    engine.up()
    state = engine.api("GET", "/containers/box/json").json()["State"]
    assert (state["Running"], state["Pid"]) == (True, before)


def test_without_live_restore_containers_are_stopped(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--live-restore=false", "--shutdown-timeout=1")
    engine.docker(
        "run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "trap 'exit 5' TERM; echo ready; sleep 1000 & wait"
    ).ok()
    wait_until(lambda: "ready" in engine.docker("logs", "box").out, 10, "the trap")
    engine.restart()
    state = engine.api("GET", "/containers/box/json").json()["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 5)


def test_an_operation_in_progress_is_finished_before_the_engine_stops(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    engine.docker("run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "trap '' TERM; echo ready; sleep 1000 & wait").ok()
    wait_until(lambda: "ready" in engine.docker("logs", "box").out, 10, "the trap")
    with engine.docker.popen("stop", "-t", "2", "box") as stopping:
        wait_until(lambda: b"kill" in events(engine), 10, "the stop to begin")
        assert engine.stop() == 0
        assert stopping.wait(5) == 0
    engine.up()
    assert engine.api("GET", "/containers/box/json").json()["State"]["ExitCode"] == 137


def events(engine: Engine) -> bytes:
    return engine.api("GET", f"/events?since=0&until={time.time():.6f}").body


@pytest.mark.heavy  # the engine gives operations ten seconds
def test_a_start_that_hangs_is_undone_before_the_engine_has_stopped(
    new_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    """The runtime is ended first: it would join, as its network, whatever has the engine's descriptor by then."""
    pid = tmp_path / "pid"
    program = tmp_path / "hanging"
    program.write_text(
        f'#!/bin/sh\ncase " $* " in *" create "*) [ -e {pid} ] || {{ echo $$ > {pid}; exec sleep 1000; }};; esac\n'
        'exec crun "$@"\n'
    )
    program.chmod(0o755)
    engine = new_engine("--add-runtime", f"hanging={program}")
    engine.docker("create", "--name", "late", "--runtime", "hanging", BUSYBOX, "sleep", "1000").ok()
    starting = engine.docker.popen("start", "late")
    wait_until(lambda: pid.exists() and pid.read_text())
    assert engine.stop() == 0
    wait_while(Path(f"/proc/{pid.read_text().strip()}/exe").exists, 1)
    assert starting.wait(10) != 0
    assert "Traceback" not in engine.log()
    engine.up()
    assert engine.docker("ps", "-a", "--format", "{{.Status}}").ok().line == "Created"
    engine.docker("start", "late").ok()


def test_reloads_on_sighup(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"labels": ["a=1"], "mtu": 1400}')
    engine = new_engine("--config-file", str(file))
    file.write_text('{"labels": ["a=2"], "debug": true, "mtu": 1300}')
    assert engine.process is not None
    engine.process.send_signal(signal.SIGHUP)
    wait_until(lambda: engine.api("GET", "/info").json()["Labels"] == ["a=2"], 5, "the new labels")
    assert engine.api("GET", "/info").json()["Debug"] is True
    assert b'"Action":"reload"' in events(engine)
    file.write_text('{"labels": 5}')
    engine.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "cannot reload the configuration" in engine.log(), 5, "the complaint")
    assert engine.api("GET", "/info").json()["Labels"] == ["a=2"]


def test_runtimes_are_reloaded(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    own = tmp_path / "own-runtime"
    own.symlink_to(shutil.which("crun", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin") or "")
    file.write_text("{}")
    engine = new_engine("--config-file", str(file))
    file.write_text(json.dumps({"runtimes": {"own": {"path": str(own)}}, "default-runtime": "own"}))
    assert engine.process is not None
    engine.process.send_signal(signal.SIGHUP)
    wait_until(lambda: engine.api("GET", "/info").json()["DefaultRuntime"] == "own", 5, "the new runtime")
    engine.darse("run", "-d", "--name", "cc", BUSYBOX, "sleep", "1000").ok()
    assert engine.darse("inspect", "-f", "{{.HostConfig.Runtime}}", "cc").ok().line == "own"
    file.write_text(json.dumps({"default-runtime": "none-such"}))
    engine.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "specified default runtime 'none-such' does not exist" in engine.log(), 5, "the complaint")
    file.write_text("{}")
    engine.process.send_signal(signal.SIGHUP)
    wait_until(lambda: engine.api("GET", "/info").json()["DefaultRuntime"] == "crun", 5, "the former runtime")
    # It stays for the container that has it.
    assert engine.darse("exec", "cc", "echo", "there").ok().line == "there"
    engine.darse("rm", "-f", "cc").ok()


def test_pidfile_and_json_log(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    pidfile = tmp_path / "run" / "darsed.pid"
    engine = new_engine("--pidfile", str(pidfile), "--log-format=json", "--debug")
    assert pidfile.read_text() == f"{engine.pid}\n"
    engine.stop()
    assert not pidfile.exists()
    lines = [json.loads(line) for line in engine.log().splitlines()]
    assert {"time", "level", "logger", "msg"} <= set(lines[0])
    assert any("ready" in line["msg"] for line in lines)


def test_plain_tcp_when_somebody_insists(new_engine: Callable[..., Engine]) -> None:
    port = free_port()
    refused = darsed("-H", f"tcp://127.0.0.1:{port}")
    assert "refusing to listen" in refused.stderr
    engine = new_engine("-H", f"tcp://127.0.0.1:{port}", "-H", "unix://", "--tls=false")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/_ping")
    assert connection.getresponse().read() == b"OK"
    connection.close()
    assert "without TLS" in engine.log()
    assert any("without encryption" in warning for warning in engine.api("GET", "/info").json()["Warnings"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_input_and_output_over_tls_with_client_certificates(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    make_certificates(tmp_path)
    port = free_port()
    engine = new_engine(
        *("-H", "unix://", "-H", f"tcp://127.0.0.1:{port}", "--tlsverify"),
        *("--tlscacert", f"{tmp_path}/ca.pem"),
        *("--tlscert", f"{tmp_path}/cert.pem"),
        *("--tlskey", f"{tmp_path}/key.pem"),
    )
    docker = Client(engine.docker.program, f"tcp://127.0.0.1:{port}", tmp_path)
    secured = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    data = b"over and out\n" * 100_000
    # The end of the input is a close_notify, and all of the output comes after it.
    done = docker("run", "--rm", "-i", BUSYBOX, "sh", "-c", "cat >/tmp/x; cat /tmp/x", input=data, env=secured).ok()
    assert done.out.encode() == data
    context = ssl.create_default_context(cafile=f"{tmp_path}/ca.pem")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ping(http.client.HTTPSConnection("127.0.0.1", port, context=context))


def ping(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/_ping")
    return connection.getresponse().read()


def make_certificates(directory: Path) -> None:
    """`ca.pem`, and `cert.pem` and `key.pem` for server and client alike."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request", "-subj", "/CN=both")
    sign = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "request", "-out", "cert.pem", *sign)


def test_doctor_examines_this_host(engine: Engine) -> None:
    findings = engine.api("GET", "/darse/doctor").json()
    assert {finding["level"] for finding in findings} <= {"ok", "note", "problem"}
    assert all(finding["advice"] for finding in findings if finding["level"] == "problem")
    assert {"crun", "conmon", "capabilities", "data root"} <= {finding["check"] for finding in findings}


def test_writes_what_its_tasks_wait_for_on_sigusr1(engine: Engine) -> None:
    assert engine.process is not None
    engine.process.send_signal(signal.SIGUSR1)
    found = wait_until(lambda: list(engine.exec_root.glob("tasks-*.log")), 5, "the file")
    wait_until(lambda: "tasks and threads written" in engine.log(), 5, "the end of the file")
    assert "daemon.py" in found[0].read_text()
    found[0].unlink()


def test_an_image_of_another_platform_is_refused(engine: Engine) -> None:
    refused = engine.docker("create", "--platform", "linux/s390x", BUSYBOX)
    assert "does not provide the specified platform (linux/s390x)" in refused.err
    engine.docker("create", "--platform", "linux", BUSYBOX).ok()


def test_its_umask_and_descriptors_do_not_depend_on_who_starts_it(engine: Engine) -> None:
    status = Path(f"/proc/{engine.pid}/status").read_text()
    assert "Umask:\t0022" in status
    limits = Path(f"/proc/{engine.pid}/limits").read_text()
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(soft) == min(int(hard), 1 << 20)
