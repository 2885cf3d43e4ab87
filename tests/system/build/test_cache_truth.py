"""The truth table of the cache: after which change a step is executed again, and what `explain` says is the cause.

Each row builds twice through the engine with a change between, and looks at one step of the second build.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec
import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.git_server import git, served_repositories
from tests.support.serving import ThreadedServer

HIT, MISS = "hit", "miss"
_HITS = ("cached", "not needed")


class Site(BaseHTTPRequestHandler):
    """Serves what is set as its content."""

    content = b"one"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(Site.content)))
        self.end_headers()
        self.wfile.write(Site.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class World:
    """What a row's change may change."""

    def __init__(self, engine: Engine, directory: Path, row: Row, site: str, repositories: tuple[Path, str]) -> None:
        self.engine = engine
        self.directory = directory
        self.context = directory / "context"
        self.flags = list(row.flags)
        self.site = site
        self.name = f"row-{os.urandom(4).hex()}"
        self.repositories, self.git = repositories
        self.remote = row.remote
        self.dockerfile = row.dockerfile
        self.context.mkdir()
        for number in range(3):
            self.write(f"f{number}", f"{self.name} {number}")
        self.write("d/inner", f"{self.name} inner")

    def write(self, path: str, text: str) -> None:
        """Write a file of the context."""
        target = self.context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def replace(self, old: str, new: str) -> None:
        """Change the Dockerfile."""
        assert old in self.dockerfile
        self.dockerfile = self.dockerfile.replace(old, new)

    def flag(self, old: str, new: str) -> None:
        """Change an argument of the command."""
        assert old in self.flags
        self.flags[self.flags.index(old)] = new

    def commit(self, path: str, text: str, branch: str = "main") -> None:
        """Commit a file to a branch of the repository of this row, which is made when there is none."""
        work = self.repositories / f"{self.name}.git"
        if not work.exists():
            work.mkdir()
            git("init", "-q", cwd=work)
            git("commit", "-q", "--allow-empty", "-m", "begin", cwd=work)
        if branch not in git("branch", "--format=%(refname:short)", cwd=work).split():
            git("branch", branch, cwd=work)
        git("checkout", "-q", branch, cwd=work)
        target = work / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        git("add", path, cwd=work)
        git("commit", "-q", "-m", text, cwd=work)
        git("checkout", "-q", "main", cwd=work)

    def base(self, text: str) -> None:
        """Make the image `base-NAME` anew."""
        dockerfile = f"FROM {BUSYBOX}\nRUN echo {self.name} {text} >/base\n"
        self.engine.darse("build", "-q", "-t", f"base-{self.name}", "-", input=dockerfile, timeout=300).ok()

    def filled(self, text: str) -> str:
        """A text with what is known of this row in the place of its words."""
        for key, value in {"BASE": BUSYBOX, "NAME": self.name, "SITE": self.site, "GIT": self.git}.items():
            text = text.replace(f"@{key}@", value)
        return text

    def build(self) -> None:
        """Build the image `NAME`."""
        self.write("Dockerfile", self.filled(self.dockerfile))
        flags = [flag.replace("@DIR@", str(self.directory)) for flag in self.flags]
        arguments = ["build", "-q", "-t", self.name, *flags, self.filled(self.remote) or str(self.context)]
        self.engine.darse(*arguments, timeout=300).ok()


class Row(msgspec.Struct, kw_only=True):
    """A row of the table."""

    change: Callable[[World], object]
    step: str
    """A part of the name of the step that is looked at."""
    result: str
    dockerfile: str
    cause: tuple[str, ...] = ()
    """What `explain` says, among others."""
    flags: tuple[str, ...] = ()
    remote: str = ""
    """The context, where it is not the directory."""
    prepare: Callable[[World], object] = lambda _: None


_COPY = "FROM @BASE@\nCOPY f0 /f0\nRUN cat /f0 >/seen\n"
_ALONE = "FROM @BASE@\nCOPY f0 /f0\n"
_TREE = "FROM @BASE@\nCOPY . /all\nRUN ls /all\n"
_RUN = "FROM @BASE@\nRUN echo @NAME@ one >/made\nRUN echo two >>/made\n"
_ARGUMENT = "FROM @BASE@\nRUN echo @NAME@ >/before\nARG VERSION\nRUN echo $VERSION >/version\n"
_UNUSED = "FROM @BASE@\nRUN echo @NAME@ >/before\nARG VERSION\n"
_IN_ENV = "FROM @BASE@\nARG VERSION\nENV V=$VERSION\nRUN echo @NAME@ $V >/version\n"
_STAGES = "FROM @BASE@ AS made\nCOPY f0 f1 /in/\nFROM @BASE@\nCOPY --from=made /in/f0 /out\nRUN cat /out\n"
_LINK = "FROM base-@NAME@\nCOPY --link f0 /linked/f0\nRUN cat /linked/f0\n"
_NO_LINK = "FROM base-@NAME@\nCOPY f0 /linked/f0\n"
_CACHE = "FROM @BASE@\nRUN --mount=type=cache,target=/c,id=@NAME@ echo @NAME@ >>/c/log; cp /c/log /log\n"
_SECRET = "FROM @BASE@\nRUN --mount=type=secret,id=word echo @NAME@; wc -c /run/secrets/word >/size\n"
_BOUND = "FROM @BASE@\nRUN --mount=type=bind,target=/c,source=f0 cat /c >/seen\n"
_BOUND_ALL = "FROM @BASE@\nRUN --mount=type=bind,target=/c cat /c/f0 >/seen\n"
_BOUND_STAGE = (
    "FROM @BASE@ AS made\nCOPY f0 f1 /in/\nFROM @BASE@\n"
    "RUN --mount=type=bind,from=made,source=/in/f0,target=/c cat /c >/seen\n"
)
_URL = "FROM @BASE@\nADD http://@SITE@/@NAME@ /url\nRUN cat /url\n"
_REMOTE = "@GIT@/@NAME@.git#main"
_GIT = "FROM @BASE@\nADD @GIT@/@NAME@.git#main /git\nRUN cat /git/file\n"
_GIT_PART = "FROM @BASE@\nADD @GIT@/@NAME@.git#main:sub /git\nRUN cat /git/file\n"
_HERE = "FROM @BASE@\nCOPY <<EOF /here\n@NAME@ one\nEOF\nRUN cat /here\n"
_HERE_RUN = "FROM @BASE@\nRUN <<EOF\necho @NAME@ one >/made\nEOF\n"
_TARGETS = "FROM @BASE@ AS one\nRUN echo @NAME@ 1\nFROM one AS two\nRUN echo @NAME@ 2\n"
_USER = "FROM @BASE@\nUSER 1000\nRUN echo @NAME@ >/tmp/made\n"
_DIRECTORY = "FROM @BASE@\nWORKDIR /one\nRUN echo @NAME@ >made\n"
_SHELL = 'FROM @BASE@\nSHELL ["/bin/sh", "-c"]\nRUN echo @NAME@ >/made\n'
_CONFIG = "FROM @BASE@\nRUN echo @NAME@ one >/made\nLABEL a=1\nEXPOSE 80\nCMD one\n"


def _begun(world: World) -> None:
    """Have a repository with two files, and a Dockerfile that copies one of them."""
    world.commit("file", "one")
    world.commit("sub/file", "one")
    world.commit("Dockerfile", f"FROM {BUSYBOX}\nCOPY sub /sub\n")


ROWS = {
    # What is copied
    "nothing": Row(dockerfile=_ALONE, change=lambda w: None, step="COPY f0", result=HIT, cause=("same operation",)),
    "nothing, the step before": Row(
        dockerfile=_COPY, change=lambda w: None, step="COPY f0", result=HIT, cause=("a later step was in the cache",)
    ),
    "content": Row(
        dockerfile=_COPY,
        change=lambda w: w.write("f0", f"{w.name} other"),
        step="COPY f0",
        result=MISS,
        cause=("[internal] load build context changed", "f0: content"),
    ),
    "content, the step behind": Row(
        dockerfile=_COPY,
        change=lambda w: w.write("f0", f"{w.name} other"),
        step="RUN cat",
        result=MISS,
        cause=("COPY f0 /f0 changed",),
    ),
    "mode": Row(
        dockerfile=_COPY,
        change=lambda w: (w.context / "f0").chmod(0o755),
        step="COPY f0",
        result=MISS,
        cause=("f0: mode 644 → 755",),
    ),
    "mtime": Row(dockerfile=_COPY, change=lambda w: os.utime(w.context / "f0", (1, 1)), step="COPY f0", result=HIT),
    "mtime of a directory": Row(
        dockerfile=_TREE, change=lambda w: os.utime(w.context / "d", (1, 1)), step="COPY .", result=HIT
    ),
    "owner: the client's do not count": Row(
        dockerfile=_COPY, change=lambda w: os.chown(w.context / "f0", 1000, 1000), step="COPY f0", result=HIT
    ),
    "rename": Row(
        dockerfile=_TREE,
        change=lambda w: (w.context / "f0").rename(w.context / "g0"),
        step="COPY .",
        result=MISS,
        cause=("f0: removed", "g0: new"),
    ),
    "rename, and the copy with it": Row(
        dockerfile=_COPY,
        change=lambda w: ((w.context / "f0").rename(w.context / "g0"), w.replace("COPY f0 ", "COPY g0 ")),
        step="COPY g0",
        result=MISS,
        cause=("another", "source"),
    ),
    "a new file": Row(
        dockerfile=_TREE, change=lambda w: w.write("new", "x"), step="COPY .", result=MISS, cause=("new: new",)
    ),
    "a removed file": Row(
        dockerfile=_TREE,
        change=lambda w: (w.context / "f1").unlink(),
        step="COPY .",
        result=MISS,
        cause=("f1: removed",),
    ),
    "a file deep inside": Row(
        dockerfile=_TREE,
        change=lambda w: w.write("d/inner", "other"),
        step="COPY .",
        result=MISS,
        cause=("d/inner: content",),
    ),
    "another kind of file": Row(
        dockerfile=_TREE,
        change=lambda w: ((w.context / "f1").unlink(), (w.context / "f1").symlink_to("f0")),
        step="COPY .",
        result=MISS,
        cause=("f1: another kind of file",),
    ),
    "a file that is not copied": Row(
        dockerfile=_ALONE,
        change=lambda w: w.write("f1", "other"),
        step="COPY f0",
        result=HIT,
        cause=("same content as before",),
    ),
    "an ignored file": Row(
        dockerfile=_TREE,
        prepare=lambda w: w.write(".dockerignore", "f1\n.dockerignore\nDockerfile\n"),
        change=lambda w: w.write("f1", "other"),
        step="COPY .",
        result=HIT,
    ),
    "a file that is ignored from now on": Row(
        dockerfile=_TREE,
        prepare=lambda w: w.write(".dockerignore", ".dockerignore\nDockerfile\n"),
        change=lambda w: w.write(".dockerignore", ".dockerignore\nDockerfile\nf1\n"),
        step="COPY .",
        result=MISS,
        cause=("f1: removed",),
    ),
    "--exclude: a file that is excluded": Row(
        dockerfile="FROM @BASE@\nCOPY --exclude=f1 --exclude=Dockerfile . /all\n",
        change=lambda w: w.write("f1", "other"),
        step="COPY --exclude",
        result=HIT,
    ),
    "a wildcard: one more match": Row(
        dockerfile="FROM @BASE@\nCOPY f* /all/\n",
        change=lambda w: w.write("f9", "x"),
        step="COPY f*",
        result=MISS,
        cause=("f9: new",),
    ),
    "a wildcard: a file that does not match": Row(
        dockerfile="FROM @BASE@\nCOPY f* /all/\n", change=lambda w: w.write("g9", "x"), step="COPY f*", result=HIT
    ),
    "--chmod": Row(
        dockerfile="FROM @BASE@\nCOPY --chmod=600 f0 /f0\n",
        change=lambda w: w.replace("600", "640"),
        step="COPY --chmod",
        result=MISS,
        cause=("mode: 416, was 384",),
    ),
    "--chown": Row(
        dockerfile="FROM @BASE@\nCOPY --chown=1:1 f0 /f0\n",
        change=lambda w: w.replace("1:1", "2:1"),
        step="COPY --chown",
        result=MISS,
        cause=("owner.user: 2, was 1",),
    ),
    "the destination": Row(
        dockerfile=_COPY,
        change=lambda w: w.replace("COPY f0 /f0\nRUN cat /f0", "COPY f0 /g0\nRUN cat /g0"),
        step="COPY f0",
        result=MISS,
        cause=("destination: '/g0', was '/f0'",),
    ),
    # What is run
    "the command": Row(
        dockerfile=_RUN,
        change=lambda w: w.replace("one >", "three >"),
        step="RUN echo row",
        result=MISS,
        cause=("the command",),
    ),
    "the command before": Row(
        dockerfile=_RUN,
        change=lambda w: w.replace("one >", "three >"),
        step="RUN echo two",
        result=MISS,
        cause=("three >/made changed",),
    ),
    "the command behind": Row(
        dockerfile=_RUN, change=lambda w: w.replace("echo two", "echo three"), step="RUN echo row", result=HIT
    ),
    "a comment and spaces": Row(
        dockerfile=_RUN, change=lambda w: w.replace("FROM", "# what\n\nFROM"), step="RUN echo two", result=HIT
    ),
    "a label, a port, a command": Row(
        dockerfile=_CONFIG,
        change=lambda w: (w.replace("a=1", "a=2"), w.replace("80", "81"), w.replace("CMD one", "CMD two")),
        step="RUN echo",
        result=HIT,
    ),
    "the user": Row(
        dockerfile=_USER,
        change=lambda w: w.replace("1000", "1001"),
        step="RUN echo",
        result=MISS,
        cause=("the user: '1001', was '1000'",),
    ),
    "the working directory": Row(
        dockerfile=_DIRECTORY,
        change=lambda w: w.replace("/one", "/two"),
        step="RUN echo",
        result=MISS,
        cause=("the working directory: '/two', was '/one'",),
    ),
    "the shell": Row(
        dockerfile=_SHELL,
        change=lambda w: w.replace('"-c"', '"-ec"'),
        step="RUN echo",
        result=MISS,
        cause=("the command",),
    ),
    "the network": Row(
        dockerfile="FROM @BASE@\nRUN --network=none echo @NAME@ >/made\n",
        flags=("--allow", "network.host"),
        change=lambda w: w.replace("--network=none", "--network=host"),
        step="RUN --network",
        result=MISS,
        cause=("the network: 'host', was 'none'",),
    ),
    "a here-document of COPY": Row(
        dockerfile=_HERE, change=lambda w: w.replace("one\nEOF", "two\nEOF"), step="COPY <<EOF", result=MISS
    ),
    "a here-document of RUN": Row(
        dockerfile=_HERE_RUN,
        change=lambda w: w.replace("one >", "two >"),
        step="RUN <<EOF",
        result=MISS,
        cause=("the command",),
    ),
    # Arguments and variables
    "an argument that is used": Row(
        dockerfile=_ARGUMENT,
        flags=("--build-arg", "VERSION=1"),
        change=lambda w: w.flag("VERSION=1", "VERSION=2"),
        step="RUN echo 2",  # names of steps have the values
        result=MISS,
        cause=("the variable VERSION: '2', was '1'",),
    ),
    "an argument, the step before": Row(
        dockerfile=_ARGUMENT,
        flags=("--build-arg", "VERSION=1"),
        change=lambda w: w.flag("VERSION=1", "VERSION=2"),
        step="RUN echo row",
        result=HIT,
    ),
    "an argument that no step has": Row(
        dockerfile=_UNUSED,
        flags=("--build-arg", "VERSION=1"),
        change=lambda w: w.flag("VERSION=1", "VERSION=2"),
        step="RUN echo",
        result=HIT,
    ),
    "an argument that is in the environment, and not looked at": Row(
        dockerfile="FROM @BASE@\nARG VERSION\nRUN echo @NAME@ >/made\n",
        flags=("--build-arg", "VERSION=1"),
        change=lambda w: w.flag("VERSION=1", "VERSION=2"),
        step="RUN echo",
        result=MISS,
        cause=("the variable VERSION",),
    ),
    "an argument in ENV": Row(
        dockerfile=_IN_ENV,
        flags=("--build-arg", "VERSION=1"),
        change=lambda w: w.flag("VERSION=1", "VERSION=2"),
        step="RUN echo",
        result=MISS,
        cause=("the variable V: '2', was '1'",),
    ),
    "a proxy": Row(
        dockerfile=_RUN,
        flags=("--build-arg", "HTTP_PROXY=http://one.example"),
        change=lambda w: w.flag("HTTP_PROXY=http://one.example", "HTTP_PROXY=http://two.example"),
        step="RUN echo two",
        result=HIT,
    ),
    # Bases and stages
    "the base moved": Row(
        dockerfile="FROM base-@NAME@\nRUN cat /base\n",
        prepare=lambda w: w.base("one"),
        change=lambda w: w.base("two"),
        step="RUN cat",
        result=MISS,
        cause=("FROM", "changed"),
    ),
    "the base was tagged anew, and is the same": Row(
        dockerfile="FROM base-@NAME@\nRUN cat /base\n",
        prepare=lambda w: w.base("one"),
        change=lambda w: w.engine.darse("tag", f"base-{w.name}", f"base-{w.name}:again").ok(),
        step="RUN cat",
        result=HIT,
    ),
    "--link: the base moved": Row(
        dockerfile=_LINK.replace("RUN cat /linked/f0\n", ""),
        prepare=lambda w: w.base("one"),
        change=lambda w: w.base("two"),
        step="COPY --link",
        result=HIT,
    ),
    "without --link: the base moved": Row(
        dockerfile=_NO_LINK,
        prepare=lambda w: w.base("one"),
        change=lambda w: w.base("two"),
        step="COPY f0",
        result=MISS,
        cause=("FROM", "changed"),
    ),
    "--link: content": Row(
        dockerfile=_LINK,
        prepare=lambda w: w.base("one"),
        change=lambda w: w.write("f0", "other"),
        step="COPY --link",
        result=MISS,
        cause=("f0: content",),
    ),
    "--from: what is copied": Row(
        dockerfile=_STAGES,
        change=lambda w: w.write("f0", "other"),
        step="COPY --from",
        result=MISS,
        cause=("what it takes from [made 2/2] COPY f0 f1 /in/ changed",),
    ),
    "--from: something else of that stage": Row(
        dockerfile=_STAGES.replace("RUN cat /out\n", ""),
        change=lambda w: w.write("f1", "other"),
        step="COPY --from",
        result=HIT,
        cause=("same content as before",),
    ),
    "another target": Row(
        dockerfile=_TARGETS,
        flags=("--target", "two"),
        change=lambda w: w.flag("two", "one"),
        step="RUN echo row",
        result=HIT,
    ),
    # Mounts
    "a cache mount": Row(
        dockerfile=_CACHE,
        change=lambda w: w.engine.darse("builder", "prune", "-f", "--filter", "type=exec.cachemount").ok(),
        step="RUN --mount=type=cache",
        result=HIT,
    ),
    "a secret": Row(
        dockerfile=_SECRET,
        flags=("--secret", "id=word,src=@DIR@/word"),
        prepare=lambda w: (w.directory / "word").write_text("one"),
        change=lambda w: (w.directory / "word").write_text("another"),
        step="RUN --mount=type=secret",
        result=HIT,
    ),
    "a bind mount: its source": Row(
        dockerfile=_BOUND,
        change=lambda w: w.write("f0", "other"),
        step="RUN --mount=type=bind",
        result=MISS,
        cause=("f0: content",),
    ),
    "a bind mount: another file": Row(
        dockerfile=_BOUND, change=lambda w: w.write("f1", "other"), step="RUN --mount=type=bind", result=HIT
    ),
    "a bind mount of all": Row(
        dockerfile=_BOUND_ALL,
        change=lambda w: w.write("f1", "other"),
        step="RUN --mount=type=bind",
        result=MISS,
        cause=("f1: content",),
    ),
    "a bind mount of a stage: another file": Row(
        dockerfile=_BOUND_STAGE, change=lambda w: w.write("f1", "other"), step="RUN --mount=type=bind", result=HIT
    ),
    "a bind mount of a stage: its source": Row(
        dockerfile=_BOUND_STAGE,
        change=lambda w: w.write("f0", "other"),
        step="RUN --mount=type=bind",
        result=MISS,
        cause=("what it takes from [made",),
    ),
    # Sources
    "ADD of a URL, the same content": Row(dockerfile=_URL, change=lambda w: None, step="ADD http", result=HIT),
    "ADD of a URL, other content": Row(
        dockerfile=_URL,
        change=lambda w: setattr(Site, "content", os.urandom(8)),
        step="ADD http",
        result=MISS,
        cause=("the URL has other content than before",),
    ),
    # Repositories
    "ADD of a branch, the same commit": Row(
        dockerfile=_GIT, prepare=_begun, change=lambda w: None, step="RUN cat /git/file", result=HIT
    ),
    "ADD of a branch that has moved": Row(
        dockerfile=_GIT,
        prepare=_begun,
        change=lambda w: w.commit("file", "two"),
        step="ADD git",
        result=MISS,
        cause=("the reference is another commit than before",),
    ),
    "ADD of a branch, another one has moved": Row(
        dockerfile=_GIT,
        prepare=_begun,
        change=lambda w: w.commit("file", "two", "other"),
        step="RUN cat /git/file",
        result=HIT,
    ),
    "ADD of a part of a repository: another part": Row(
        dockerfile=_GIT_PART,
        prepare=_begun,
        change=lambda w: w.commit("file", "two"),
        step="RUN cat /git/file",
        result=HIT,
    ),
    "ADD of a part of a repository: that part": Row(
        dockerfile=_GIT_PART,
        prepare=_begun,
        change=lambda w: w.commit("sub/file", "two"),
        step="ADD git",
        result=MISS,
        cause=("the reference is another commit than before",),
    ),
    "a repository as the context, the same commit": Row(
        dockerfile="", remote=_REMOTE, prepare=_begun, change=lambda w: None, step="COPY sub", result=HIT
    ),
    "a repository as the context, a file that is copied": Row(
        dockerfile="",
        remote=_REMOTE,
        prepare=_begun,
        change=lambda w: w.commit("sub/file", "two"),
        step="COPY sub",
        result=MISS,
        cause=("sub/file: content",),
    ),
    "a repository as the context, another file": Row(
        dockerfile="",
        remote=_REMOTE,
        prepare=_begun,
        change=lambda w: w.commit("file", "two"),
        step="COPY sub",
        result=HIT,
    ),
    # Options
    "--no-cache": Row(
        dockerfile=_RUN,
        change=lambda w: w.flags.append("--no-cache"),
        step="RUN echo row",
        result=MISS,
        cause=("the cache is not used for it",),
    ),
    "--no-cache-filter: that stage": Row(
        dockerfile=_TARGETS,
        change=lambda w: w.flags.append("--no-cache-filter=two"),
        step="[two 1/1]",
        result=MISS,
        cause=("the cache is not used for it",),
    ),
    "--no-cache-filter: another stage": Row(
        dockerfile=_TARGETS, change=lambda w: w.flags.append("--no-cache-filter=two"), step="[one 2/2]", result=HIT
    ),
    "another name of the image": Row(
        dockerfile=_RUN, change=lambda w: w.flags.extend(["-t", f"{w.name}:more"]), step="RUN echo two", result=HIT
    ),
    "another Dockerfile with the same text": Row(
        dockerfile=_RUN,
        change=lambda w: (
            w.write("other", w.dockerfile.replace("@BASE@", BUSYBOX).replace("@NAME@", w.name)),
            w.flags.extend(["-f", str(w.context / "other")]),
        ),
        step="RUN echo two",
        result=HIT,
    ),
    "the result was pruned": Row(
        dockerfile=_RUN,
        change=lambda w: (w.engine.darse("rmi", "-f", w.name).ok(), w.engine.darse("builder", "prune", "-af").ok()),
        step="RUN echo row",
        result=MISS,
        cause=("not in the cache any more",),
    ),
}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadedServer(Site) as server:
        yield server.address


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A directory, and the URL at which its repositories are served."""
    directory = tmp_path_factory.mktemp("repositories")
    with served_repositories(directory) as url:
        yield directory, url


@pytest.mark.parametrize("name", ROWS)
def test_the_cache_after_a_change(
    name: str, engine: Engine, tmp_path: Path, site: str, repositories: tuple[Path, str]
) -> None:
    row = ROWS[name]
    world = World(engine, tmp_path, row, site, repositories)
    row.prepare(world)
    world.build()
    row.change(world)
    world.build()
    found = json.loads(engine.darse("explain", world.name, "--format", "json").ok().out)
    steps = [step for step in found["Steps"] if row.step in step["Name"]]
    assert steps, [step["Name"] for step in found["Steps"]]
    step = steps[0]  # a linked copy comes before the merge of the same name
    assert (HIT if step["State"] in _HITS else MISS) == row.result, (step["State"], step["Cause"])
    said = "\n".join([step["Cause"], *step["Details"]])
    assert all(part in said for part in row.cause), said


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 40
