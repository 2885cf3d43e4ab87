"""`system tls`: what it makes lets the right clients in, and nobody else."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BIN, Client, Engine
from tests.support.ports import free_port

_OPENSSL = any(os.access(f"{path}/openssl", os.X_OK) for path in os.get_exec_path())
pytestmark = pytest.mark.skipif(not _OPENSSL, reason="openssl is not installed (Debian package)")


def tls(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_CONFIG": str(config)}
    command = [str(BIN / "darse"), "system", "tls", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def lets_in(port: int, context: ssl.SSLContext) -> bool:
    """Whether an engine answers a client; TLS 1.3 refuses a certificate at the first read."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            secured = context.wrap_socket(plain, server_hostname="localhost")
            secured.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            return b"200 OK" in secured.recv(100)
        except (ssl.SSLError, ConnectionError):
            return False


def test_clients_with_a_certificate_get_in(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    made, config = tmp_path / "tls", tmp_path / "config"
    done = tls(config, "init", "--directory", str(made), "--host", "localhost", "--host", "127.0.0.1")
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mode & 0o777 for path in made.glob("*key.pem")} == {
        "ca-key.pem": 0o400,
        "key.pem": 0o400,
    }
    port = free_port()
    files = [
        word
        for name in ("ca", "cert", "key")
        for word in (f"--tls{name}{'cert' * (name == 'ca')}", str(made / f"{name}.pem"))
    ]
    engine = new_engine("-H", "unix://", "-H", f"tcp://127.0.0.1:{port}", "--tlsverify", *files)
    client = ("client", "far", "--directory", str(made), "-o", str(tmp_path / "far"))
    done = tls(config, *client, "--context", f"tcp://localhost:{port}")
    assert done.returncode == 0, done.stderr
    assert tls(config, *client).returncode == 1  # it is there already
    for program in (engine.docker.program, engine.darse.program):
        far = Client(program, "", config)
        for name in ("DOCKER_HOST", "DARSE_HOST"):
            far.environment.pop(name)
        assert far("--context", "far", "version", "--format", "{{.Server.Version}}").ok().line
    # Whoever is not let in is told why; so is whoever does not trust the engine.
    assert tls(config, "init", "--directory", str(tmp_path / "other"), "--host", "localhost").returncode == 0
    of_other = [f"--tls{one}={tmp_path}/other/client/{one}.pem" for one in ("cert", "key")]
    stranger = Client(engine.darse.program, f"tcp://localhost:{port}", config)
    trusting = ("--tlsverify", f"--tlscacert={made}/ca.pem")
    assert "refuses this client: certificate required" in stranger(*trusting, "ps").err
    assert "refuses this client: unknown ca" in stranger(*trusting, *of_other, "ps").err
    mixed = stranger(*trusting, of_other[0], f"--tlskey={tmp_path}/far/key.pem", "ps")
    assert f"cannot use {tmp_path}/other/client/cert.pem with {tmp_path}/far/key.pem" in mixed.err
    mistrusting = stranger("--tlsverify", f"--tlscacert={tmp_path}/other/ca.pem", "ps")
    assert f"the engine at tcp://localhost:{port} is not trusted" in mistrusting.err
    # Nobody else: without a certificate, or with the engine's own, which is no client's.
    for certificate in (None, (made / "cert.pem", made / "key.pem")):
        context = ssl.create_default_context(cafile=str(made / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(*map(str, certificate))
        assert not lets_in(port, context)


def test_what_is_there_is_renewed_only_on_demand(tmp_path: Path) -> None:
    made = tmp_path / "tls"
    assert tls(tmp_path, "init", "--directory", str(made), "--host", "a.example").returncode == 0
    authority, before = (made / "ca.pem").read_bytes(), (made / "cert.pem").read_bytes()
    refused = tls(tmp_path, "init", "--directory", str(made))
    assert refused.returncode == 1
    assert "--renew" in refused.stderr
    assert tls(tmp_path, "init", "--directory", str(made), "--host", "b.example", "--renew").returncode == 0
    assert (made / "ca.pem").read_bytes() == authority
    assert (made / "cert.pem").read_bytes() != before
    refused = tls(tmp_path, "init", "--directory", str(tmp_path / "bad"), "--host", "a,URI:x")
    assert "neither a host's name nor an address" in refused.stderr


def names(certificate: Path) -> str:
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_renewal_keeps_the_names(tmp_path: Path) -> None:
    made = tmp_path / "tls"
    hosts = [word for host in ("a.example", "192.0.2.7", "::1") for word in ("--host", host)]
    assert tls(tmp_path, "init", "--directory", str(made), *hosts).returncode == 0
    before = names(made / "cert.pem")
    done = tls(tmp_path, "init", "--directory", str(made), "--renew")
    assert "is for a.example, 192.0.2.7, ::1\n" in done.stdout
    assert names(made / "cert.pem") == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init", "--host", "bad host"), "neither a host's name nor an address"),
        (("init", "--days", "0"), "--days must be from 1 to 3650"),
        (("init", "--days", "5000"), "--days must be from 1 to 3650"),
        (("client", "../x"), "can be no client's name"),
        (("client", "a/CN=b"), "can be no client's name"),
        (("client", "far", "--context", "nonsense"), "must be tcp://HOST:PORT"),
        (("client", "x", "--context", "tcp://h:1"), 'context name "x" is invalid'),
    ],
)
def test_a_refusal_makes_nothing(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    refused = tls(tmp_path, *words, "--directory", str(tmp_path / "tls"))
    assert refused.returncode == 1
    assert told in refused.stderr
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = tls(tmp_path, "init", "--directory", str(tmp_path / "file" / "tls"))
    assert (refused.returncode, refused.stderr) == (1, f"Not a directory: {tmp_path}/file/tls\n")


def test_a_context_that_is_there_stays(tmp_path: Path) -> None:
    made = tmp_path / "tls"
    assert tls(tmp_path, "init", "--directory", str(made), "--host", "localhost").returncode == 0
    client = ("client", "far", "--directory", str(made), "--context", "tcp://localhost:2376", "-o")
    assert tls(tmp_path, *client, str(tmp_path / "one")).returncode == 0
    refused = tls(tmp_path, *client, str(tmp_path / "two"))
    assert 'context "far" already exists' in refused.stderr
    assert not (tmp_path / "two").exists()
