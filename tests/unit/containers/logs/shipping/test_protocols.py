"""What is written to receivers, byte for byte, where the system tests have no receiver for it."""

import asyncio
import os
import socket
import struct
import zlib

import msgspec
import pytest
from aiohttp import web

from darse.containers.logs.shipping import fluentd, gelf, splunk, syslog
from darse.containers.logs.shipping.fluentd import FluentdReceiver, _Answers
from darse.containers.logs.shipping.journald import JournaldReceiver
from darse.containers.logs.shipping.messages import Message, Part
from darse.containers.logs.shipping.origin import Origin
from darse.containers.logs.shipping.splunk import SplunkReceiver
from darse.core.errors import InvalidParameter

MOMENT = b"2026-01-02T03:04:05.123456789+00:00"


def origin(driver, options=None, **attributes):
    return Origin(
        id="0123456789ab" + "0" * 52,
        name="web",
        image_id="sha256:1",
        image_name="nginx",
        command="nginx -g x",
        created="2026-01-02T03:04:05Z",
        driver=driver,
        options=options or {},
        attributes=attributes,
        tag="0123456789ab",
        host="box",
    )


def fields(data):
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
            data = rest
        else:
            name, (size,) = line, struct.unpack("<Q", rest[:8])
            value, data = rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value
    return found


async def test_journald_fields_and_a_message_too_large_for_a_datagram(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        receiver = JournaldReceiver(origin("journald", **{"com.example-x": "a\nb", "_hidden": "1"}), path)
        await receiver.connect(lambda: None)
        await receiver.send([Message(MOMENT, b"stderr", b"\xff\0bytes", Part("p", 1, last=False))])
        found = fields(journal.recv(65536))
        assert found["MESSAGE"] == b"\xff\0bytes"
        assert found["PRIORITY"] == b"3"
        assert found["CONTAINER_NAME"] == b"web"
        assert found["CONTAINER_ID"] == b"0123456789ab"
        assert found["COM_EXAMPLE_X"] == b"a\nb"
        assert found["HIDDEN"] == b"1"
        assert found["CONTAINER_PARTIAL_MESSAGE"] == b"true"
        assert found["SYSLOG_TIMESTAMP"] == b"2026-01-02T03:04:05.123456789Z"
        large = bytes(1 << 20)
        await receiver.send([Message(MOMENT, b"stdout", large)])
        data, descriptors, _, _ = socket.recv_fds(journal, 65536, 1)
        assert data == b""
        with open(descriptors[0], "rb") as file:
            assert fields(os.pread(file.fileno(), 2 << 20, 0))["MESSAGE"] == large
        assert receiver.delivered == 2
        receiver.close()


@pytest.mark.parametrize("form", ["inline", "json", "raw"])
async def test_splunk_answers_for_what_it_has(form):
    bodies, statuses = [], [503, 200, 200]

    async def collect(request):
        assert request.headers["Authorization"] == "Splunk t0ken"
        body = await request.read()
        status = statuses.pop(0)
        if status == 200:
            bodies.append(body)
        return web.Response(status=status, text="busy")

    application = web.Application()
    application.router.add_post("/services/collector/event/1.0", collect)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    options = {"splunk-url": f"http://127.0.0.1:{port}", "splunk-token": "t0ken", "splunk-format": form}
    receiver = SplunkReceiver(origin("splunk", {**options, "splunk-source": "s"}, one="1"))
    messages = [
        Message(MOMENT, b"stdout", b'{"a":1}'),
        Message(MOMENT, b"stderr", b"no json"),
        Message(MOMENT, b"x", b" "),
        Message(MOMENT, b"stdout", b"[" * 10_000),
    ]
    await receiver.connect(lambda: None)
    with pytest.raises(OSError, match="failed to send event - 503"):
        await receiver.send(messages)
    assert receiver.delivered == 0
    await receiver.send(messages)
    assert receiver.delivered == 4
    await receiver.finish()
    receiver.close()
    await runner.cleanup()
    events = msgspec.json.Decoder().decode_lines(bodies[0].replace(b"}{", b"}\n{"))
    assert events[0]["time"] == "1767323045.123456"
    assert (events[0]["host"], events[0]["source"]) == ("box", "s")
    if form == "raw":
        assert [event["event"] for event in events] == [
            '0123456789ab one=1 {"a":1}',
            "0123456789ab one=1 no json",
            f"0123456789ab one=1 {'[' * 10_000}",
        ]
    else:
        assert events[0]["event"]["line"] == ({"a": 1} if form == "json" else '{"a":1}')
        assert events[1]["event"] == {
            "line": "no json",
            "source": "stderr",
            "tag": "0123456789ab",
            "attrs": {"one": "1"},
        }


async def test_fluentd_waits_for_each_answer():
    received, left = asyncio.Event(), asyncio.Event()

    async def serve(reader, writer):
        data = await reader.read(65536)
        received.set()
        begin = data.index(b"\xa5chunk") + 6
        chunk = data[begin : begin + 25]  # a string of 24 bytes with its head
        for part in (b"\x81\xa3a", b"ck" + chunk[:5], chunk[5:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)  # a part that comes by itself
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"fluentd-address": f"127.0.0.1:{port}", "fluentd-request-ack": "true"}
    receiver = FluentdReceiver(origin("fluentd", options))
    await receiver.connect(lambda: None)
    sending = asyncio.create_task(receiver.send([Message(MOMENT, b"stdout", b"hi")]))
    await received.wait()
    assert receiver.delivered == 0
    await sending
    assert receiver.delivered == receiver.settled == 1
    receiver.close()
    await left.wait()
    server.close()


def test_answers_of_fluentd_in_any_pieces():
    answers = _Answers()
    data = msgspec.msgpack.encode({"ack": "a" * 24}) + msgspec.msgpack.encode({"ack": "b" * 40})
    assert [found for byte in data for found in answers.feed(bytes([byte]))] == ["a" * 24, "b" * 40]


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        (syslog, {"syslog-address": "http://x"}, "syslog-address should be in form proto://address, got http://x"),
        (syslog, {"syslog-facility": "24"}, "invalid syslog facility"),
        (syslog, {"syslog-format": "x"}, "Invalid syslog format"),
        (fluentd, {"fluentd-address": "unix:///"}, "path is empty"),
        (fluentd, {"fluentd-address": "tcp://h:1/x"}, "should not contain a path element"),
        (fluentd, {"fluentd-address": "h:70000"}, "invalid port"),
        (fluentd, {"fluentd-retry-wait": "x"}, 'time: invalid duration "x"'),
        (fluentd, {"fluentd-max-retries": "-1"}, "invalid syntax"),
        (fluentd, {"fluentd-async": "true", "fluentd-async-connect": "true"}, "conflicting options"),
        (fluentd, {"fluentd-async-reconnect-interval": "20s"}, "must be between 100ms and 10s"),
        (gelf, {"gelf-address": "unix:///x"}, "gelf: endpoint needs to be TCP or UDP"),
        (gelf, {"gelf-address": "tcp://h:1", "gelf-compression-type": "gzip"}, "compression is only supported on UDP"),
        (gelf, {"gelf-address": "udp://h:1", "gelf-compression-level": "10"}, 'unknown value "10"'),
        (gelf, {"gelf-address": "udp://h:1", "gelf-tcp-max-reconnect": "1"}, "is only valid for TCP"),
        (splunk, {}, "splunk: splunk-url is expected"),
        (splunk, {"splunk-url": "http://h/path", "splunk-token": "t"}, "expected format scheme://dns_name_or_ip:port"),
        (splunk, {"splunk-url": "http://h", "splunk-token": "t", "splunk-format": "x"}, "unknown format specified x"),
    ],
)
def test_what_is_refused(driver, options, said):
    with pytest.raises(InvalidParameter) as refused:
        driver.DRIVER.check(options)
    assert said in str(refused.value)


def test_chunks_of_gelf():
    data = os.urandom(3000)
    chunks = gelf._chunks(data)
    assert [chunk[:2] for chunk in chunks] == [b"\x1e\x0f"] * 3
    assert len({chunk[2:10] for chunk in chunks}) == 1
    assert b"".join(chunk[12:] for chunk in chunks) == data
    assert gelf._chunks(b"x") == [b"x"]
    assert zlib.decompress(gelf._COMPRESSIONS["gzip"](data, 1), 31) == data
