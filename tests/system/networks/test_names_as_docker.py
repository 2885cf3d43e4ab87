"""The same names asked of this engine's name server and of dockerd's, and by the two C libraries of containers.

Both engines have the same containers, each in a network namespace of its own, with a name server of the test behind
them that knows `example.org` and nothing else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.engines import BenchEngine, Darsed, Dockerd
from tests.support.dnspython import dns
from tests.support.engine import BUSYBOX
from tests.system.networks.support import inside

# Name and types. Addresses of answers are shown as the container's name and network.
NAMES = [
    *("web", "WEB", "Web.", "web.front", "web.FRONT.", "web.back", "web.nosuch", "site", "SITE.", "site.front"),
    *("store", "store.back", "store.front", "keeper", "keeper.back", "db", "db.back", "DB", "twin", "twin.back"),
    *("twin1", "twin2", "web-host", "store-host", "asker", "asker.front", "asker.back", "example.org", "EXAMPLE.org."),
    *(
        "www.example.org",
        "nosuch",
        "nosuch.",
        "nosuch.example.org",
        "web.example.org",
        "front",
        "back",
        "web.front.back",
    ),
    *("a" * 63, f"{'a' * 63}.front", ".".join(["label"] * 30), "localhost", "_http._tcp.web", "wéb".encode().hex()),
    *("store.back.example.org", "web..front", "-web", "web-", "127.0.0.11", "10.in-addr.arpa"),
]
# dockerd answers PTR for addresses only, and nothing at all for other names.
TYPES = ("A", "AAAA", "MX")
OWNERS = ("web.front", "store.back", "asker.front")
# Where this engine answers otherwise than dockerd 20.10, and why.
OTHERWISE = {
    # Names have no case (RFC 4343), those of networks and links neither.
    ("web.FRONT.", "A"): ("NOERROR web.front", "NXDOMAIN"),
    ("DB", "A"): ("NOERROR store.back", "NXDOMAIN"),
    **{(name, type_): ("NOERROR", "NXDOMAIN") for name in ("web.FRONT.", "DB") for type_ in ("AAAA", "MX")},
}
# By getaddrinfo: what must come of a name, by any C library.
BY_LIBRARY = {
    "web": ["web.front"],
    "WEB": ["web.front"],
    "web.front": ["web.front"],
    "store.back": ["store.back"],
    "keeper": ["store.back"],
    "db": ["store.back"],
    "twin": ["twin1.back", "twin2.back"],
    "example.org": ["192.0.2.80", "2001:db8::80"],
    "www": ["192.0.2.80", "2001:db8::80"],  # by the search list
    "nosuch": [],
    "web.": ["web.front"],
    "a" * 63: [],
    "nosuch.example.org": [],
}
PROGRAM = """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **names) {
    for (int at = 1; at < count; at++) {
        struct addrinfo hints, *found = 0;
        char text[99];
        memset(&hints, 0, sizeof hints);
        hints.ai_socktype = SOCK_STREAM;
        if (getaddrinfo(names[at], 0, &hints, &found)) found = 0;
        printf("%s", names[at]);
        for (; found; found = found->ai_next)
            if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST))
                printf(" %s", text);
        printf("\\n");
    }
}
"""


class Upstream:
    """A name server in an engine's network namespace, on every address there."""

    def __init__(self, path: str) -> None:
        self._socket = inside(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind(("0.0.0.0", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                packet, peer = self._socket.recvfrom(4096)
                if peer is None:
                    return
                self._socket.sendto(self._answer(packet), peer)

    @staticmethod
    def _answer(packet: bytes) -> bytes:
        query = dns.message.from_wire(packet)
        answer = dns.message.make_response(query)
        question = query.question[0]
        name, type_ = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        if name not in ("example.org.", "www.example.org."):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif type_ in ("A", "AAAA"):
            address = "192.0.2.80" if type_ == "A" else "2001:db8::80"
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", type_, address))
        return bytes(answer.to_wire())

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Shop:
    """An engine with the containers that are asked for."""

    def __init__(self, engine: BenchEngine) -> None:
        self.engine = engine
        for network, subnet in (("front", "10.77.1.0/24"), ("back", "10.77.2.0/24")):
            engine.docker("network", "create", "--subnet", subnet, network)
        self.upstream = Upstream(f"/proc/{engine._process.pid}/ns/net")  # type: ignore[union-attr]
        self._run("web", "front", "--network-alias", "site", "--hostname", "web-host")
        self._run("store", "back", "--network-alias", "keeper", "--hostname", "store-host")
        for number in (1, 2):
            self._run(f"twin{number}", "back", "--network-alias", "twin")
        servers = ("--dns", "10.77.1.1", "--dns-search", "example.org", "--link", "store:db")
        self._run("asker", "back", *servers)
        engine.docker("network", "connect", "front", "asker")
        self.pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "asker").strip()
        form = "{{.Name}}{{range $name, $one := .NetworkSettings.Networks}} {{$one.IPAddress}} {{$name}}{{end}}"
        self.owners = {}
        for name in ("web", "store", "twin1", "twin2", "asker"):
            words = engine.docker("inspect", "-f", form, name).split()
            self.owners.update(
                {address: f"{name}.{network}" for address, network in zip(words[1::2], words[2::2], strict=True)}
            )
        self._socket = inside(self.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.settimeout(5)
        self._socket.connect(("127.0.0.11", 53))

    def _run(self, name: str, network: str, *options: str) -> None:
        arguments = ("--name", name, "--network", network, *options, BUSYBOX, "sleep", "1000")
        self.engine.docker("run", "-d", *arguments)

    @property
    def namespace(self) -> str:
        """The network namespace of who asks."""
        return f"/proc/{self.pid}/ns/net"

    def shown(self, address: str) -> str:
        """An address as the container that has it."""
        return self.owners.get(address, address)

    def ask(self, questions: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """What the name server answers to names and types, which are asked together."""
        answers: dict[tuple[str, str], str] = {}
        for _ in range(3):  # datagrams may be lost, servers pass over some, and the one behind them may be late
            left = [one for one in questions if answers.get(one, "SERVFAIL") == "SERVFAIL"]
            queries = {query.id: (one, query) for one in left for query in [dns.message.make_query(*one)]}
            for _, query in queries.values():
                self._socket.send(query.to_wire())
            with contextlib.suppress(TimeoutError):
                while len(queries) > 0:
                    answer = dns.message.from_wire(self._socket.recv(4096))
                    if answer.id in queries:
                        found = sorted(self.shown(str(one)) for record in answer.answer for one in record)
                        question, _ = queries.pop(answer.id)
                        answers[question] = " ".join([dns.rcode.to_text(answer.rcode()), *found])
        return {one: answers.get(one, "no answer") for one in questions}

    def reverse(self, owner: str) -> str:
        """The name that asks for whose an address is."""
        address = next(one for one, name in self.owners.items() if name == owner)
        return ipaddress.ip_address(address).reverse_pointer

    def owner(self, name: str) -> str:
        """The container and network that a reversed address is of; other names as they are."""
        return next((owner for owner in OWNERS if self.reverse(owner) == name), name)

    def close(self) -> None:
        """Let go."""
        self._socket.close()
        self.upstream.close()


@contextlib.contextmanager
def shop(engine: BenchEngine, image: bytes | None = None) -> Iterator[Shop]:
    """The containers on an engine, which ends with them."""
    engine.start()
    try:
        if image is not None:
            subprocess.run(["docker", "load"], env=engine.environment, input=image, capture_output=True, check=True)
        made = Shop(engine)
        try:
            yield made
        finally:
            made.close()
    finally:
        engine.close()


def _is_name(text: str) -> bool:
    try:
        dns.name.from_text(text)
    except dns.exception.DNSException:
        return False
    return True


def test_names_are_answered_as_by_dockerd(tmp_path: Path) -> None:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed (Debian: docker.io)")
    with shop(Darsed(tmp_path)) as ours, shop(Dockerd(tmp_path), ours.engine.save(BUSYBOX)) as theirs:
        names = [name for name in NAMES if _is_name(name)]
        answers = []
        for one in (ours, theirs):
            questions = [(name, type_) for type_ in TYPES for name in names]
            found = one.ask([*questions, *((one.reverse(owner), "PTR") for owner in OWNERS)])
            answers.append({(one.owner(name), type_): answer for (name, type_), answer in found.items()})
        rows = len(answers[0])
        different = {row: (mine, answers[1][row]) for row, mine in answers[0].items() if mine != answers[1][row]}
        assert rows >= 60
        assert different == OTHERWISE


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_names_by_the_c_libraries(tmp_path: Path, compiler: str) -> None:
    """glibc is the host's, with files of the container in the places of its own; musl's program is in the container."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source, program = tmp_path / "lookup.c", tmp_path / "lookup"
    source.write_text(PROGRAM)
    subprocess.run([compiler, *(["-static"] if compiler == "musl-gcc" else []), "-o", program, source], check=True)
    with shop(Darsed(tmp_path)) as ours:
        if compiler == "musl-gcc":
            ours.engine.docker("cp", str(program), "asker:/lookup")
            said = ours.engine.docker("exec", "asker", "/lookup", *BY_LIBRARY)
        else:
            # mount(8) would follow /proc/PID/root to the host's own files: so they are copied.
            for file in ("resolv.conf", "hosts"):
                shutil.copyfile(f"/proc/{ours.pid}/root/etc/{file}", tmp_path / file)
            script = 'for f in resolv.conf hosts; do mount --bind "$0/$f" "/etc/$f" || exit; done; exec "$@"'
            command = ["nsenter", f"--net={ours.namespace}", "unshare", "--mount", "sh", "-c", script, str(tmp_path)]
            done = subprocess.run([*command, str(program), *BY_LIBRARY], capture_output=True, text=True, check=True)
            said = done.stdout
        found = {}
        for line in said.splitlines():
            name, *addresses = line.split(" ")
            found[name] = sorted(map(ours.shown, addresses))
        # With ndots:0, which docker sets, musl completes no name: it has a dot too many already.
        assert found == {**BY_LIBRARY, **({"www": []} if compiler == "musl-gcc" else {})}
