"""dockerode, the client of most programs in JavaScript, unmodified.

`make clients` fetches it, where npm is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from tests.support.clients import NODE_MODULES
from tests.support.hub import Hub

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not (NODE_MODULES / "dockerode").exists(), reason="dockerode is not installed (npm)"),
]

PULL_AND_RUN = """
const Docker = require('dockerode');
const {PassThrough} = require('stream');
const docker = new Docker({socketPath: process.argv[2]});
const ended = stream => new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, events) => error ? reject(error) : resolve(events)));
(async () => {
    const events = await ended(await docker.pull('busybox:latest'));
    const out = new PassThrough(), chunks = [];
    out.on('data', chunk => chunks.push(chunk));
    const command = ['sh', '-c', 'echo $GREETING; exit 3'];
    const [result, container] = await docker.run('busybox', command, [out, process.stderr],
        {Env: ['GREETING=hello'], Tty: false});
    const seen = await container.inspect();
    await container.remove();
    const images = await docker.listImages({filters: {reference: ['busybox']}});
    console.log(JSON.stringify({
        last: events[events.length - 1].status, status: result.StatusCode, state: seen.State.Status,
        said: Buffer.concat(chunks).toString(), tags: images[0].RepoTags,
    }));
})().catch(error => { console.error(error); process.exit(1); });
"""

EXEC_OVER_ONE_STREAM = """
const Docker = require('dockerode');
const docker = new Docker({socketPath: process.argv[2]});
(async () => {
    const container = await docker.createContainer({name: 'shouter', Image: 'busybox', Cmd: ['sleep', '1000']});
    await container.start();
    const exec = await container.exec({Cmd: ['tr', 'a-z', 'A-Z'], AttachStdin: true, AttachStdout: true});
    const stream = await exec.start({hijack: true, stdin: true});
    const chunks = [];
    const over = new Promise(resolve => stream.on('end', resolve));
    container.modem.demuxStream(stream, {write: chunk => chunks.push(chunk)}, process.stderr);
    stream.end('shout');
    await over;
    const seen = await exec.inspect();
    const name = (await container.inspect()).Name;
    await container.remove({force: true});
    console.log(JSON.stringify({said: Buffer.concat(chunks).toString(), status: seen.ExitCode, name}));
})().catch(error => { console.error(error); process.exit(1); });
"""


def node(script: str, hub: Hub) -> dict[str, object]:
    done = subprocess.run(
        ["node", "-", str(hub.engine.socket)],
        input=script,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_pull_and_run(hub: Hub) -> None:
    seen = node(PULL_AND_RUN, hub)
    assert str(seen.pop("last")).startswith("Status: ")
    assert seen == {"status": 3, "state": "exited", "said": "hello\n", "tags": ["busybox:latest"]}


def test_exec_with_input_that_ends(hub: Hub) -> None:
    hub.have("busybox:latest")
    assert node(EXEC_OVER_ONE_STREAM, hub) == {"said": "SHOUT", "status": 0, "name": "/shouter"}
