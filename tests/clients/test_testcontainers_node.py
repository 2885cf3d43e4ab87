"""Testcontainers for Node, unmodified, without its reaper (its image is not in the catalogue).

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
    pytest.mark.skipif(not (NODE_MODULES / "testcontainers").exists(), reason="testcontainers is not installed (npm)"),
]

# A web server that is waited for by its health check and its port, with a file copied into it before the start.
WEB = """
const {GenericContainer, Wait, Network} = require('testcontainers');
(async () => {
    const network = await new Network().start();
    const web = await new GenericContainer('nginx:alpine')
        .withExposedPorts(80)
        .withNetwork(network)
        .withEnvironment({COLOUR: 'blue'})
        .withCopyContentToContainer([{content: 'copied', target: '/usr/share/nginx/html/copied'}])
        .withHealthCheck({test: ['CMD-SHELL', 'wget -q -O - http://127.0.0.1/'], interval: 200, retries: 20})
        .withWaitStrategy(Wait.forAll([Wait.forHealthCheck(), Wait.forListeningPorts()]))
        .start();
    const page = await (await fetch(`http://127.0.0.1:${web.getMappedPort(80)}/copied`)).text();
    const {exitCode, output} = await web.exec(['sh', '-c', 'echo $COLOUR; exit 5']);
    // Testcontainers takes its reference from the log's socket: Node would end while it is waited for.
    const alive = setInterval(() => {}, 1000);
    const logged = await new Promise(async resolve => {
        const stream = await web.logs();
        stream.on('data', line => { if (String(line).includes('/copied')) { stream.destroy(); resolve(true); } });
    });
    clearInterval(alive);
    await web.stop();
    await network.stop();
    console.log(JSON.stringify({page, exitCode, output, logged}));
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_a_container_from_start_to_stop(hub: Hub) -> None:
    hub.have("nginx:alpine")
    done = subprocess.run(
        ["node", "-"],
        input=WEB,
        env={
            **os.environ,
            "NODE_PATH": str(NODE_MODULES),
            "DOCKER_HOST": hub.engine.host,
            "TESTCONTAINERS_RYUK_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"page": "copied", "exitCode": 5, "output": "blue\n", "logged": True}
    assert hub.engine.api("GET", "/containers/json?all=1").json() == []
