"""What is built is untrusted: no context, Dockerfile, stage or mount reads or changes anything of the host.

A directory of the host, the canary, has a secret and empty directories. Whatever a build does, the secret is nowhere
in what it says or makes, and the canary is as it was. The rows name the vulnerability of other builders that they come
from.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Done, Engine
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_until

_SECRET = b"the secret of the host"
_CLASSIC = {"DOCKER_BUILDKIT": "0"}


class Canary:
    """The host's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "secret").write_bytes(_SECRET)
        (path / "empty").mkdir()
        (path / "passwd").write_text("hostuser:x:4242:4242::/:/bin/sh\n")
        self._before = self._state()

    def _state(self) -> list[tuple[str, int, int, bytes]]:
        found = []
        for one in sorted(self.path.rglob("*")):
            status = one.lstat()
            found.append((str(one), status.st_mode, status.st_uid, one.read_bytes() if one.is_file() else b""))
        return found

    def check(self) -> None:
        """Raises AssertionError when it was changed."""
        assert self._state() == self._before


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    found = Canary(tmp_path / "canary")
    yield found
    found.check()


def nothing_is_left(engine: Engine) -> None:
    """No process, mount, control group, nor anything that is being written."""
    root = engine.root / "d"
    places = [root / "build/contexts", root / "build/scratch", root / "snapshots-active", root / "trash"]
    wait_until(
        lambda: not find_orphans(engine) and not [one for place in places if place.exists() for one in place.iterdir()],
        30,
        "nothing of the build",
    )


def build(client: Client, canary: Canary, text: str, *arguments: str, context: Path | None = None) -> Done:
    """Build, and check that the secret is neither said nor in the image."""
    dockerfile = text.replace("@BASE@", BUSYBOX).replace("@CANARY@", str(canary.path))
    where = "-"
    if context is not None:
        (context / "Dockerfile").write_text(dockerfile)
        where = str(context)
    data = dockerfile if context is None else None
    done = client("build", "--no-cache", "-t", "hostile", *arguments, where, input=data, env=_CLASSIC, timeout=180)
    assert _SECRET not in done.raw + done.raw_err
    if done.status == 0:
        assert _SECRET not in client("save", "hostile", timeout=120).ok().raw
    canary.check()
    return done


# (what, the Dockerfile, whether it builds; None: either)
_MOUNTS = (
    (
        "CVE-2024-23651: a cache mount's source is made a link",
        "FROM @BASE@\nRUN --mount=type=cache,id=s,target=/c rm -rf /c/sub; ln -s @CANARY@ /c/sub\n"
        "RUN --mount=type=cache,id=s,source=sub,target=/h cat /h/secret; touch /h/made; rmdir /h/empty; true\n",
        None,
    ),
    (
        "CVE-2024-23651: a cache mount's source is made a link to the root",
        "FROM @BASE@\nRUN --mount=type=cache,id=r,target=/c rm -rf /c/sub; ln -s / /c/sub\n"
        "RUN --mount=type=cache,id=r,source=sub@CANARY@,target=/h cat /h/secret; true\n",
        None,
    ),
    (
        "CVE-2024-23652: a mount's target is below a link",
        "FROM @BASE@\nRUN ln -s @CANARY@ /x\nRUN --mount=type=tmpfs,target=/x/empty true\n",
        None,
    ),
    (
        "CVE-2024-23652: what is above a mount's target becomes a link",
        "FROM @BASE@\nRUN --mount=type=tmpfs,target=/a/empty mv /a /b; ln -s @CANARY@ /a\nRUN ls -l /\n",
        None,
    ),
    (
        "CVE-2024-23652: the same with a secret's target",
        "FROM @BASE@\nRUN --mount=type=secret,id=none,target=/a/empty/s mv /a /b; ln -s @CANARY@ /a; true\n",
        None,
    ),
    (
        "CVE-2024-23653: more rights than the client gave",
        "FROM @BASE@\nRUN --security=insecure cat @CANARY@/secret\n",
        False,
    ),
    (
        "CVE-2024-9407: an option that mounts do not have",
        "FROM @BASE@\nRUN --mount=type=bind,from=@BASE@,target=/h,bind-propagation=shared true\n",
        False,
    ),
    (
        "CVE-2024-9407: a source that climbs",
        "FROM @BASE@\nRUN --mount=type=bind,from=@BASE@,source=../../../../../..@CANARY@,target=/h cat /h/secret\n",
        False,
    ),
    (
        "CVE-2024-9675: the id of a cache climbs",
        "FROM @BASE@\nRUN --mount=type=cache,id=../../../../../../../..@CANARY@,target=/h "
        "cat /h/secret; touch /h/made; rmdir /h/empty; true\n",
        True,
    ),
    (
        "CVE-2024-11218: a stage's source is a link",
        "FROM @BASE@ AS s\nRUN ln -s @CANARY@ /link\nFROM @BASE@\n"
        "RUN --mount=type=bind,from=s,source=/link,target=/h,rw cat /h/secret; touch /h/made\n",
        False,
    ),
    (
        "CVE-2024-9676: names of users are looked up through a link",
        "FROM @BASE@ AS s\nRUN mkdir -p /etc; rm -f /etc/passwd; ln -s @CANARY@/passwd /etc/passwd\n"
        "FROM s\nCOPY --from=s --chown=hostuser /bin/busybox /b\n",
        False,
    ),
    (
        "CVE-2024-9676: names of users are in a pipe",
        "FROM @BASE@ AS s\nRUN mkdir -p /etc; rm -f /etc/passwd; mkfifo /etc/passwd\n"
        "FROM s\nCOPY --from=s --chown=hostuser /bin/busybox /b\n",
        False,
    ),
    (
        "a process as a user whose names are in a pipe",
        "FROM @BASE@\nRUN mkdir -p /etc; rm -f /etc/passwd; mkfifo /etc/passwd\nUSER hostuser\nRUN true\n",
        False,
    ),
    (
        "a working directory below a link",
        "FROM @BASE@\nRUN ln -s @CANARY@ /w\nWORKDIR /w/made\nRUN pwd; cat /w/secret; true\n",
        None,
    ),
    (
        "a copy's destination is below a link",
        "FROM @BASE@ AS s\nRUN ln -s @CANARY@ /w\nFROM s\nCOPY --from=@BASE@ /bin/busybox /w/made\n",
        None,
    ),
    (
        "a copy's source is a link",
        "FROM @BASE@ AS s\nRUN ln -s @CANARY@/secret /link; ln -s ../../../../../..@CANARY@ /up\nFROM @BASE@\n"
        "COPY --from=s /up/secret /got\n",
        False,
    ),
    (
        "the target of a mount climbs",
        "FROM @BASE@\nRUN --mount=type=tmpfs,target=/../../../..@CANARY@ touch @CANARY@/made\n",
        None,
    ),
)


@pytest.mark.parametrize(("text", "builds"), [row[1:] for row in _MOUNTS], ids=[row[0] for row in _MOUNTS])
def test_nothing_of_the_host_is_reached(engine: Engine, canary: Canary, text: str, builds: bool | None) -> None:
    done = build(engine.darse, canary, text)
    assert builds is None or (done.status == 0) is builds, done.out + done.err
    nothing_is_left(engine)


# (what is in the context, the instruction)
_LINKS = (
    ("a link to a file of the host", "secret", "COPY link /got"),
    ("a link to a directory of the host", "", "COPY link/ /got/"),
    ("a file behind a link", "", "COPY link/secret /got"),
    ("a wildcard behind a link", "", "COPY link/s* link/secret /got/"),
    ("an archive behind a link", "secret", "ADD link /got"),
    ("a bind mount behind a link", "", "RUN --mount=type=bind,source=link,target=/h cat /h/secret"),
)


@pytest.mark.parametrize(("target", "instruction"), [row[1:] for row in _LINKS], ids=[row[0] for row in _LINKS])
def test_links_of_a_context_lead_on_within_it(
    engine: Engine, canary: Canary, tmp_path: Path, target: str, instruction: str
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "link").symlink_to(canary.path / target if target else canary.path)
    done = build(engine.darse, canary, f"FROM @BASE@\n{instruction}\n", context=context)
    assert done.status != 0
    nothing_is_left(engine)


def _archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, content in members:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, 0o755
    return entry, content


@pytest.mark.parametrize(
    "what", ["climbs", "absolute", "through a link", "a hard link out", "the Dockerfile", "the ignore file"]
)
def test_archives_of_contexts_that_lead_out(engine: Engine, canary: Canary, what: str) -> None:
    text = f"FROM {BUSYBOX}\nCOPY . /got\n".encode()
    there = str(canary.path)
    up = "../" * 30 + there.lstrip("/")
    members = {
        "climbs": [_member("Dockerfile", text), _member(f"{up}/made", b"x")],
        "absolute": [_member("Dockerfile", text), _member(f"{there}/made", b"x")],
        "through a link": [
            _member("Dockerfile", text),
            _member("d", kind=tarfile.SYMTYPE, link=there),
            _member("d/made", b"x"),
        ],
        "a hard link out": [_member("Dockerfile", text), _member("d", kind=tarfile.LNKTYPE, link=f"{up}/secret")],
        "the Dockerfile": [_member("Dockerfile", kind=tarfile.SYMTYPE, link=f"{there}/secret")],
        "the ignore file": [
            _member("Dockerfile", text),
            _member(".dockerignore", kind=tarfile.SYMTYPE, link=f"{there}/secret"),
        ],
    }[what]
    answer = engine.api("POST", "/build?t=led", _archive(*members))
    assert _SECRET not in answer.body
    assert _SECRET.decode() not in str(answer.body)
    canary.check()
    if what not in ("absolute", "through a link", "the ignore file"):
        assert answer.status != 200 or b'"error"' in answer.body, answer.body
    nothing_is_left(engine)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_dockerfile_of_a_hundred_thousand_lines(engine: Engine) -> None:
    lines = [f"FROM {BUSYBOX}"]
    for number in range(25_000):
        lines += ["# a comment", f"ENV A{number % 1000}={number}", "", f"LABEL l{number % 1000}=$A{number % 1000}"]
    text = "\n".join(lines)
    engine.docker("build", "-q", "-t", "lines", "-", input=text, env={"DOCKER_BUILDKIT": "0"}, timeout=250).ok()
    engine.refuse_stalls()
    checked = engine.darse("build", "--check", "-", input=text, timeout=250)
    assert "Check complete" in checked.out + checked.err, checked.err
    engine.refuse_stalls()
    engine.darse("build", "-t", "lines", "-", input=text, timeout=250).ok()
    label = engine.darse("image", "inspect", "-f", "{{.Config.Labels.l999}}", "lines").ok().line
    assert label == "24999"
    engine.refuse_stalls()


@pytest.mark.timeout(300)
def test_a_thousand_steps_of_which_the_first_fails(engine: Engine) -> None:
    text = f"FROM {BUSYBOX}\nRUN exit 3\n" + "".join(f"RUN echo {number}\n" for number in range(1_000))
    done = engine.darse("build", "-", input=text, timeout=250)
    assert done.status != 0
    assert "exit code: 3" in done.err
    assert engine.api("GET", "/_ping").status == 200
    nothing_is_left(engine)


def test_an_archive_that_unpacks_to_a_terabyte_ends_with_its_client(engine: Engine, tmp_path: Path) -> None:
    """A terabyte of zeros in a few megabytes; the client goes when some of it has been written."""
    member = gzip.compress(bytes(64 << 20), 1)
    header = tarfile.TarInfo("bomb")
    header.size = 1 << 40
    with open(tmp_path / "bomb.tar.gz", "wb") as bomb:
        bomb.write(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
        for _ in range(40):
            bomb.write(member)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nADD bomb.tar.gz /\n")
    client = engine.darse.popen("build", "--progress=plain", str(tmp_path), stderr=subprocess.STDOUT)
    active = engine.root / "d" / "snapshots-active"

    def begun() -> bool:
        return any(path.stat().st_size for path in active.rglob("bomb")) or client.poll() is not None

    wait_until(begun, 60, "a part of the bomb")
    client.kill()
    assert client.stdout is not None
    client.stdout.close()
    client.wait()
    nothing_is_left(engine)


def test_processes_that_multiply_end_with_their_build(engine: Engine) -> None:
    text = (
        f"FROM {BUSYBOX}\nRUN n=0; while [ $n -lt 300 ]; do n=$((n + 1)); "
        "(trap '' TERM INT HUP; setsid sh -c 'sleep 1000 & sleep 1000' &) ; done; echo begun; sleep 1000\n"
    )
    client = engine.darse.popen("build", "--progress=plain", "-", stderr=subprocess.STDOUT)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(text.encode())
    client.stdin.close()
    for line in client.stdout:
        if b" begun" in line and b"echo" not in line:
            break
    client.kill()
    client.stdout.close()
    client.wait()
    nothing_is_left(engine)
