"""Logs that go elsewhere: every protocol, receivers that are away, and engines that are killed meanwhile."""

from __future__ import annotations

import gzip
import json
import random
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.ports import free_port
from tests.support.receivers import DatagramReceiver, Fluentd, StreamReceiver
from tests.support.waiting import wait_until, wait_while

LINES = 3000
WRITES = ("awk", f'BEGIN {{ for (i = 1; i <= {LINES}; i++) printf "%099d\\n", i }}')


def numbers(data: bytes) -> list[int]:
    """The numbers at the ends of lines."""
    return [int(found) for found in re.findall(rb"(?<![0-9])0[0-9]{98}(?=\n|\x00|\"|$)", data)]


def talks(seconds: float) -> tuple[str, ...]:
    """A command that prints numbered lines for some time, some hundred in a second."""
    return (
        "sh",
        "-c",
        f"i=0; while [ $i -lt {said_in(seconds)} ]; do i=$((i+1)); printf '%099d\\n' $i; "
        "[ $((i%10)) = 0 ] && sleep 0.02; done",
    )


def said_in(seconds: float) -> int:
    """How many lines `talks` prints."""
    return int(seconds * 50) * 10


@pytest.fixture
def stream() -> Iterator[StreamReceiver]:
    receiver = StreamReceiver()
    receiver.up()
    yield receiver
    receiver.close()


@pytest.fixture
def fluentd() -> Iterator[Fluentd]:
    receiver = Fluentd()
    receiver.up()
    yield receiver
    receiver.close()


def spool_gone(engine: Engine) -> None:
    """Nothing is left to be sent."""
    spools = engine.data_root / "spools"
    wait_while(lambda: list(spools.iterdir()) if spools.exists() else [], what="spools")


def test_syslog_over_tcp(cli: Client, engine: Engine, stream: StreamReceiver) -> None:
    options = ("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{stream.port}")
    cli("run", "--name", "told", *options, BUSYBOX, *WRITES).ok()
    wait_until(lambda: len(numbers(stream.received)) >= LINES, what="every line")
    assert numbers(stream.received) == list(range(1, LINES + 1))
    assert numbers(cli("logs", "told").ok().raw) == list(range(1, LINES + 1))


def test_the_log_of_a_container_that_is_gone_still_arrives(cli: Client, engine: Engine) -> None:
    receiver = StreamReceiver(("127.0.0.1", free_port()))
    options = ("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{receiver.port}")
    cli("run", "--rm", *options, BUSYBOX, *WRITES).ok()
    wait_while(lambda: engine.api("GET", "/containers/json?all=1").json(), what="the container")
    receiver.up()
    try:
        wait_until(lambda: len(numbers(receiver.received)) >= LINES, what="every line")
        assert numbers(receiver.received) == list(range(1, LINES + 1))
        spool_gone(engine)
    finally:
        receiver.close()


@pytest.mark.parametrize("form", ["", "rfc3164", "rfc5424", "rfc5424micro"])
def test_syslog_formats(engine: Engine, stream: StreamReceiver, form: str) -> None:
    done = engine.docker(
        "run",
        *("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{stream.port}"),
        *(
            "--log-opt",
            f"syslog-format={form}",
            "--log-opt",
            "syslog-facility=local3",
            "--log-opt",
            "tag=app/{{.Name}}",
        ),
        *("--name", "formed", BUSYBOX, "sh", "-c", "echo out; echo err >&2"),
    )
    done.ok()
    wait_until(lambda: stream.received.count(b"\n") == 2, what="two lines")
    host = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    day = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    second = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    expected = {
        "": rf"<(\d+)>{day} app/formed\[\d+\]: (out|err)",
        "rfc3164": rf"<(\d+)>{day} {host} app/formed\[\d+\]: (out|err)",
        "rfc5424": rf"<(\d+)>1 {second}(?:Z|[+-]\d\d:\d\d) {host} app/formed \d+ app/formed - (out|err)",
        "rfc5424micro": rf"<(\d+)>1 {second}\.\d{{6}}(?:Z|[+-]\d\d:\d\d) {host} app/formed \d+ app/formed - (out|err)",
    }[form]
    found = {(m[1], m[2]) for line in stream.received.decode().splitlines() if (m := re.fullmatch(expected, line))}
    assert found == {(str(19 * 8 + 6), "out"), (str(19 * 8 + 3), "err")}, stream.received


def test_syslog_over_unix_sockets(engine: Engine) -> None:
    for transport in ("unix", "unixgram"):
        path = str(engine.root / f"{transport}.sock")
        receiver = StreamReceiver(path) if transport == "unix" else DatagramReceiver(path)
        receiver.up()
        try:
            options = ("--log-driver", "syslog", "--log-opt", f"syslog-address={transport}://{path}")
            engine.docker("run", "--rm", *options, BUSYBOX, *WRITES).ok()

            def received(receiver: StreamReceiver | DatagramReceiver = receiver) -> bytes:
                return b"".join(receiver.datagrams) if isinstance(receiver, DatagramReceiver) else receiver.received

            wait_until(lambda: len(numbers(received())) >= LINES, what="every line")
            assert numbers(received()) == list(range(1, LINES + 1))
        finally:
            receiver.close()


def test_syslog_over_udp_to_a_receiver_that_is_away_for_a_while(engine: Engine) -> None:
    receiver = DatagramReceiver(("127.0.0.1", free_port()))
    options = ("--log-driver", "syslog", "--log-opt", f"syslog-address=udp://127.0.0.1:{receiver.port}")
    engine.docker("run", "-d", "--name", "udp", *options, BUSYBOX, *talks(1)).ok()
    engine.docker("wait", "udp").ok()
    receiver.up()
    try:
        wait_until(lambda: len(receiver.datagrams) >= 500, what="every line")
        assert numbers(b"".join(receiver.datagrams)) == list(range(1, 501))
    finally:
        receiver.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ),
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_syslog_over_tls_is_framed_by_length(engine: Engine, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate[0]))
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    receiver = StreamReceiver(tls=context)
    receiver.up()
    options = (
        *("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp+tls://127.0.0.1:{receiver.port}"),
        *("--log-opt", f"syslog-tls-ca-cert={certificate[0]}", "--log-opt", "syslog-format=rfc5424"),
        *("--log-opt", f"syslog-tls-cert={certificate[0]}", "--log-opt", f"syslog-tls-key={certificate[1]}"),
    )
    try:
        engine.docker("run", "--name", "tls", *options, BUSYBOX, *WRITES).ok()
        wait_until(lambda: len(numbers(receiver.received)) >= LINES, what="every line")
        rest, found = receiver.received, []
        while rest:
            size, _, rest = rest.partition(b" ")
            message, rest = rest[: int(size)], rest[int(size) :]
            assert message.startswith(b"<30>1 ")
            found += numbers(message)
        assert found == list(range(1, LINES + 1))
    finally:
        receiver.close()


@pytest.mark.parametrize("away", [1, pytest.param(10, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("politely", [True, False])
@pytest.mark.parametrize("driver", ["syslog", "fluentd", "fluentd-ack", "gelf"])
def test_a_receiver_that_is_away_gets_every_line_afterwards(
    engine: Engine, driver: str, politely: bool, away: float
) -> None:
    receiver: StreamReceiver = Fluentd() if driver.startswith("fluentd") else StreamReceiver()
    receiver.up()
    options = {
        "syslog": [f"syslog-address=tcp://127.0.0.1:{receiver.port}"],
        "gelf": [f"gelf-address=tcp://127.0.0.1:{receiver.port}"],
        "fluentd": [f"fluentd-address=127.0.0.1:{receiver.port}"],
        "fluentd-ack": [f"fluentd-address=127.0.0.1:{receiver.port}", "fluentd-request-ack=true"],
    }[driver]
    flags = [word for option in options for word in ("--log-opt", option)]

    def arrived() -> list[int]:
        if isinstance(receiver, Fluentd):
            return [int(event[2]["log"]) for event in list(receiver.events)]
        with receiver._lock:
            return [number for data in receiver.data for number in numbers(bytes(data))]

    try:
        name = driver.partition("-")[0]
        engine.docker("run", "-d", "--name", "away", "--log-driver", name, *flags, BUSYBOX, *talks(away + 1.5)).ok()
        wait_until(lambda: len(arrived()) > 100, what="the first lines")
        receiver.down(politely=politely)
        before = arrived()
        time.sleep(away)  # how long nobody listens is the test's input
        receiver.up()
        engine.docker("wait", "away").ok()
        last = said_in(away + 1.5)
        wait_until(lambda: arrived() and arrived()[-1] == last, 30, what="the last line")
        found = arrived()
        if politely:
            assert len(found) == len(set(found)), "twice"
        assert list(dict.fromkeys(found)) == list(range(1, last + 1))
        assert len(before) < last
    finally:
        receiver.close()


def test_engines_that_are_killed_lose_nothing(new_engine: Callable[..., Engine], fluentd: Fluentd) -> None:
    engine = new_engine()
    chance = random.Random(5)
    command = talks(3)
    options = ("--log-driver", "fluentd", "--log-opt", f"fluentd-address=127.0.0.1:{fluentd.port}")
    engine.docker("run", "-d", "--name", "crashed", *options, BUSYBOX, *command).ok()
    for _ in range(3):
        time.sleep(chance.uniform(0.1, 0.5))  # the instant of the crash is the test's input
        engine.kill9()
        engine.up()
    engine.docker("wait", "crashed").ok()
    wait_until(lambda: fluentd.events and int(fluentd.events[-1][2]["log"]) == 1500, what="the last line")
    found = [int(event[2]["log"]) for event in fluentd.events]
    assert list(dict.fromkeys(found)) == list(range(1, 1501))


def test_an_engine_that_stops_sends_nothing_twice(new_engine: Callable[..., Engine], fluentd: Fluentd) -> None:
    engine = new_engine()
    options = ("--log-driver", "fluentd", "--log-opt", f"fluentd-address=127.0.0.1:{fluentd.port}")
    engine.docker("run", "-d", "--name", "stopped", *options, BUSYBOX, *talks(2)).ok()
    for _ in range(2):
        seen = len(fluentd.events)
        wait_until(lambda: len(fluentd.events) > seen + 50, what="lines")  # noqa: B023
        engine.restart()
    engine.docker("wait", "stopped").ok()
    wait_until(lambda: int(fluentd.events[-1][2]["log"]) == 1000, what="the last line")
    assert [int(event[2]["log"]) for event in fluentd.events] == list(range(1, 1001))


def test_rotated_files_stay_until_they_were_sent(engine: Engine) -> None:
    receiver = StreamReceiver(("127.0.0.1", free_port()))
    options = (
        *("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{receiver.port}"),
        *("--log-opt", "cache-max-size=100k", "--log-opt", "cache-max-file=2"),
    )
    container = engine.docker("run", "-d", "--name", "kept", *options, BUSYBOX, *talks(2)).ok().line
    files = engine.data_root / "containers" / container
    engine.docker("wait", "kept").ok()
    assert numbers(engine.docker("logs", "kept").ok().raw) == list(range(1, 1001))
    receiver.up()
    try:
        wait_until(lambda: len(numbers(receiver.received)) >= 1000, what="every line")
        assert numbers(receiver.received) == list(range(1, 1001))
        wait_until(lambda: len(list(files.glob("*.log*"))) <= 2, what="retention")
    finally:
        receiver.close()


def test_long_lines_and_binary_bytes(engine: Engine, stream: StreamReceiver) -> None:
    chance = random.Random(3)
    lines = [bytes(chance.choices(bytes(set(range(256)) - {10, 13}), k=size)) for size in (1, 5, 16384, 16385, 70_000)]
    options = ("--log-driver", "fluentd", "--log-opt", f"fluentd-address=127.0.0.1:{stream.port}")
    engine.docker("run", "-i", "--name", "long", *options, BUSYBOX, "cat", input=b"\n".join(lines) + b"\n").ok()
    wait_until(lambda: len(stream.received) > sum(map(len, lines)), what="the data")
    for line in lines:
        for begin in range(0, len(line), 16384):
            assert line[begin : begin + 16384] in stream.received


def test_parts_of_a_long_line_can_be_put_together(engine: Engine, fluentd: Fluentd) -> None:
    line = "".join(random.Random(3).choices("abcdefgh", k=40_000))
    options = ("--log-driver", "fluentd", "--log-opt", f"fluentd-address=127.0.0.1:{fluentd.port}")
    labels = ("--label", "one=1", "--log-opt", "labels=one", "--log-opt", "fluentd-sub-second-precision=true")
    engine.docker("run", "-i", "--name", "parts", *options, *labels, BUSYBOX, "cat", input=f"{line}\nshort\n").ok()
    wait_until(lambda: len(fluentd.events) == 4, what="four events")
    records = [event[2] for event in fluentd.events]
    assert "".join(record["log"] for record in records[:3]) == line
    assert [record["partial_ordinal"] for record in records[:3]] == ["1", "2", "3"]
    assert [record["partial_last"] for record in records[:3]] == ["false", "false", "true"]
    assert len({record["partial_id"] for record in records[:3]}) == 1
    assert records[3]["log"] == "short"
    assert "partial_id" not in records[3]
    assert records[3]["container_name"] == "/parts"
    assert records[3]["one"] == "1"
    assert records[3]["source"] == "stdout"
    assert fluentd.events[0][1].code == 0
    assert len(fluentd.events[0][1].data) == 8


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_gelf_over_udp(engine: Engine, compression: str) -> None:
    receiver = DatagramReceiver()
    receiver.up()
    line = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=12_000))
    options = ("--log-driver", "gelf", "--log-opt", f"gelf-address=udp://127.0.0.1:{receiver.port}")
    more = ("--log-opt", f"gelf-compression-type={compression}", "--log-opt", "env=APP", "-e", "APP=a")
    try:
        engine.docker("run", "-i", "--name", "gelf", *options, *more, BUSYBOX, "cat", input=f"{line}\nhi\n").ok()
        wait_until(lambda: receiver.datagrams and receiver.datagrams[-1][:2] != b"\x1e\x0f", what="the last message")
        chunks = [data for data in receiver.datagrams if data[:2] == b"\x1e\x0f"]
        assert [data[10] for data in chunks] == list(range(len(chunks)))
        assert all(data[11] == len(chunks) and len(data) <= 1420 for data in chunks)
        messages = [b"".join(data[12:] for data in chunks), receiver.datagrams[-1]]
        long, short = (json.loads(gzip.decompress(one) if compression == "gzip" else one) for one in messages)
        assert long["short_message"] == line
        assert short["short_message"] == "hi"
        assert short["_container_name"] == "gelf"
        assert short["_APP"] == "a"
        assert (short["version"], short["level"], short["_command"]) == ("1.1", 6, "cat")
    finally:
        receiver.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("syslog", "syslog-address=nope"), "syslog-address should be in form proto://address, got nope"),
        (("syslog", "syslog-address=unix:///nope/nope"), "stat /nope/nope: no such file or directory"),
        (("syslog", "syslog-facility=nope"), "invalid syslog facility"),
        (("syslog", "nope=1"), "unknown log opt 'nope' for syslog log driver"),
        (("gelf", "gelf-address=udp://localhost"), "gelf: please provide gelf-address as proto://host:port"),
        (("gelf", "tag=x"), "gelf-address is a required parameter"),
        (("fluentd", "fluentd-address=ftp://x"), "unsupported scheme: 'ftp'"),
        (("fluentd", "fluentd-async=maybe"), "invalid syntax"),
        (("splunk", "splunk-url=http://localhost:1"), "splunk: splunk-token is expected"),
    ],
)
def test_options_that_mean_nothing(engine: Engine, options: tuple[str, ...], said: str) -> None:
    done = engine.docker("create", "--log-driver", options[0], "--log-opt", options[1], BUSYBOX)
    assert done.status == 1
    assert said in done.err
