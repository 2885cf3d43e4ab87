"""`system tls`: a certificate authority, and certificates of the engine and its clients, for tcp with TLS.

openssl(1) makes them, as docker's documentation has it done by hand: ECDSA keys on P-256, the engine's with every name
that clients use (RFC 6125 looks at subject alternative names only), each certificate for one purpose.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from darse.cli.command_line.flags import Command, Options, listing, number, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.settings.contexts import Context, Contexts, check_name

_DIRECTORY = "/etc/darse"
_DAYS, _AUTHORITY_DAYS = 825, 3650
_AUTHORITY, _AUTHORITY_KEY = "ca.pem", "ca-key.pem"
_CERTIFICATE, _KEY = "cert.pem", "key.pem"


def init(invocation: Invocation) -> int:
    """Make the authority where it is not there, the engine's certificate, and a client's. Raises CliError."""
    options = invocation.options
    directory = os.path.abspath(options.directory or _DIRECTORY)
    days = _days(options)
    there = [one for one in (_CERTIFICATE, _KEY) if os.path.exists(os.path.join(directory, one))]
    if there and not options.renew:
        raise CliError(f"{directory} has {' and '.join(there)} already: --renew makes new ones, by the same authority")
    hosts = options.host or _names_of(os.path.join(directory, _CERTIFICATE)) or _names_of_this_host()
    names = ",".join(map(_alternative, hosts))
    _make_authority(directory)
    _issue(directory, directory, hosts[0], days, "serverAuth", names)
    client = os.path.join(directory, "client")
    _issue(directory, client, "client", days, "clientAuth")
    files = {"tlscacert": _AUTHORITY, "tlscert": _CERTIFICATE, "tlskey": _KEY} if directory != _DIRECTORY else {}
    where = "".join(f', "{key}": "{directory}/{file}"' for key, file in files.items())
    sys.stdout.write(
        f"{directory}: the engine's certificate is for {', '.join(hosts)}\n{client}: a client's\n\n"
        f'In /etc/darse/daemon.json: "tlsverify": true, "hosts": ["{_local()}", "tcp://0.0.0.0:2376"]{where}'
        f"\nA client, with a copy of {client}:\n  darse context create NAME "
        f"--docker host=tcp://{hosts[0]}:2376,ca={client}/ca.pem,cert={client}/cert.pem,key={client}/key.pem\n"
        + ("An engine that runs takes the new ones at its next start: darse system restart\n" if there else "")
    )
    return 0


def client(invocation: Invocation) -> int:
    """Make the certificate of one more client. Raises CliError."""
    options = invocation.options
    (name,) = invocation.arguments
    directory = os.path.abspath(options.directory or _DIRECTORY)
    days, contexts = _days(options), Contexts(invocation.settings)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@ -]*", name):
        raise CliError(f"{name!r} can be no client's name: it is of letters, digits and . _ @ -")
    if options.context:
        _check_context(contexts, name, options.context)
    if not os.path.exists(os.path.join(directory, _AUTHORITY_KEY)):
        raise CliError(f"{directory} has no authority to sign with: darse system tls init makes one")
    target = os.path.abspath(options.output or name)
    if os.path.exists(os.path.join(target, _KEY)):
        raise CliError(f"{target} has a {_KEY} already: choose another --output")
    _issue(directory, target, name, days, "clientAuth")
    sys.stdout.write(f"{target}: ca.pem, cert.pem and key.pem of client {name}\n")
    if options.context:
        tls = {one: _read(os.path.join(target, one)) for one in (_AUTHORITY, _CERTIFICATE, _KEY)}
        endpoint = {"Host": options.context, "SkipTLSVerify": False}
        contexts.save(Context(name, {}, {}).changed(name, endpoint=endpoint, tls=tls))
        sys.stdout.write(f"context {name} leads to {options.context}\n")
    return 0


def _days(options: Options) -> int:
    """How long certificates hold: not longer than the authority's own does. Raises CliError."""
    days: int = _DAYS if options.days is None else options.days
    if not 0 < days <= _AUTHORITY_DAYS:
        raise CliError(f"--days must be from 1 to {_AUTHORITY_DAYS}, which the authority's own certificate holds")
    return days


def _check_context(contexts: Contexts, name: str, address: str) -> None:
    """Raise CliError for what can be no context, before anything is made."""
    check_name(name)
    if contexts.exists(name):
        raise CliError(f'context "{name}" already exists')
    host, colon, port = address.removeprefix("tcp://").rpartition(":")
    if not (address.startswith("tcp://") and host and colon and port.isdecimal()):
        raise CliError(f"--context {address}: must be tcp://HOST:PORT")


def _names_of_this_host() -> list[str]:
    return [socket.gethostname(), "localhost", "127.0.0.1", "::1"]


def _names_of(certificate: str) -> list[str]:
    """The names and addresses that a certificate is for, in their order; none where there is none. Raises CliError."""
    if not os.path.exists(certificate):
        return []
    printed = _openssl("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    found = re.findall(r"(DNS|IP Address):([^,\s]+)", printed)
    return [str(ipaddress.ip_address(name)) if kind != "DNS" else name for kind, name in found]


def _local() -> str:
    return "fd://" if os.path.isdir("/run/systemd/system") else "unix://"


def _make_authority(directory: str) -> None:
    """Make the authority's key and certificate; nothing where they are."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    key, certificate = (os.path.join(directory, one) for one in (_AUTHORITY_KEY, _AUTHORITY))
    if os.path.exists(key) and os.path.exists(certificate):
        return
    if os.path.exists(certificate):
        raise CliError(f"{certificate} is of another authority, whose key is not here: choose another --directory")
    _make_key(key)
    subject = f"/O=darse/CN=darse authority of {socket.gethostname()}"
    uses = (
        "-addext",
        "basicConstraints=critical,CA:TRUE,pathlen:0",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    _openssl("req", "-x509", "-new", "-key", key, "-sha256", "-days", str(_AUTHORITY_DAYS), "-subj", subject, *uses,
             "-out", certificate)  # fmt: skip
    os.chmod(certificate, 0o644)


def _issue(authority: str, target: str, name: str, days: int, purpose: str, names: str = "") -> None:
    """Make a key and a certificate in `target`, for a purpose of RFC 5280, with the authority's certificate beside.

    They take their places when both are made.
    """
    os.makedirs(target, mode=0o700, exist_ok=True)
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={purpose}",
        *([f"subjectAltName={names}"] if names else []),
    ]
    signing, signed = (os.path.join(authority, one) for one in (_AUTHORITY_KEY, _AUTHORITY))
    with tempfile.TemporaryDirectory(dir=target, prefix=".making-") as scratch:
        key, certificate = (os.path.join(scratch, one) for one in (_KEY, _CERTIFICATE))
        request, extensions = os.path.join(scratch, "request"), os.path.join(scratch, "extensions")
        with open(extensions, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        _make_key(key)
        _openssl("req", "-new", "-key", key, "-sha256", "-subj", f"/CN={name[:64]}", "-out", request)
        serial = f"0x{os.urandom(16).hex()}"
        _openssl("x509", "-req", "-in", request, "-CA", signed, "-CAkey", signing, "-set_serial", serial, "-sha256",
                 "-days", str(days), "-extfile", extensions, "-out", certificate)  # fmt: skip
        os.chmod(certificate, 0o644)
        for made in (key, certificate):
            os.replace(made, os.path.join(target, os.path.basename(made)))
    if target != authority:
        shutil.copyfile(signed, os.path.join(target, _AUTHORITY))


def _alternative(host: str) -> str:
    """A host as a subject's alternative name. Raises CliError for what can be none."""
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        if not host or set(host) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*_"):
            raise CliError(f"{host!r} is neither a host's name nor an address") from None
        return f"DNS:{host}"


def _make_key(path: str) -> None:
    """Make a key that only its owner can read, from its first byte on."""
    mask = os.umask(0o077)
    try:
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    finally:
        os.umask(mask)
    os.chmod(path, 0o400)


def _openssl(*words: str) -> str:
    program = shutil.which("openssl")
    if program is None:
        raise CliError("openssl makes the certificates, and is not installed: apt-get install openssl")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CliError(f"openssl {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


_WHERE = string("directory", f"Where the authority is (default {_DIRECTORY})", value="directory")
_HOW_LONG = number("days", f"How long the certificates hold (default {_DAYS})")

COMMANDS = {
    "system tls init": (
        Command(
            "system tls init",
            "[OPTIONS]",
            "Make a certificate authority, and certificates of the engine and a client",
            (
                listing(
                    "host",
                    "A name or address of the engine (default: the certificate's, else this host's, localhost)",
                ),
                switch("renew", "Make new certificates where there are some; the authority stays"),
                _WHERE,
                _HOW_LONG,
            ),
            examples="sudo darse system tls init --host build.example --host 192.0.2.7",
        ),
        init,
    ),
    "system tls client": (
        Command(
            "system tls client",
            "[OPTIONS] NAME",
            "Make the certificate of one more client",
            (
                string("output", "Where its files are written (default: a directory of its name)", "o", "directory"),
                string(
                    "context",
                    "Make a context of its name, too, for the engine at this address",
                    value="tcp://host:port",
                ),
                _WHERE,
                _HOW_LONG,
            ),
            1,
            1,
            examples="sudo darse system tls client laptop -o laptop",
        ),
        client,
    ),
}
