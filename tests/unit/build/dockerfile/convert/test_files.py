"""COPY and ADD as file operations."""

from __future__ import annotations

import msgspec
import pytest

from darse.build.dockerfile import DockerfileError
from darse.build.dockerfile.convert.git import GitReference, parse_git
from darse.build.graph import CopyAction, FileOperation, FileOwner, GitSource, HTTPSource, MkfileAction, UserName
from tests.unit.build.dockerfile.convert.support import FakeImages, changes, converted, document, history, operations


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("COPY a /b", {"source": "/a", "destination": "/b", "follow_symlink": True, "unpack": False}),
        ("COPY a/ b/", {"source": "/a", "destination": "/w/b/"}),
        ("COPY . .", {"source": "/", "destination": "/w/"}),
        ("COPY a ./", {"destination": "/w/"}),
        ("COPY a ../b", {"destination": "/b"}),
        ("COPY a /", {"destination": "/"}),
        ("COPY ../../a b", {"source": "/a"}),
        ("COPY a*[bc] /d/", {"source": "/a*[bc]", "allow_wildcard": True, "allow_empty_wildcard": True}),
        ("COPY --chmod=0644 a b", {"mode": 0o644, "mode_text": ""}),
        ("COPY --chmod=u=rwX,go-w a b", {"mode": None, "mode_text": "u=rwX,go-w"}),
        ("COPY --chown=1:2 a b", {"owner": FileOwner(1, 2)}),
        ("COPY --chown=me:us a b", {"owner": FileOwner(UserName("me", 0), UserName("us", 0))}),
        ("COPY --chown=:5 a b", {"owner": FileOwner(None, 5)}),
        ("COPY --exclude=*.x --exclude=!y.x a b", {"exclude_patterns": ("*.x", "!y.x")}),
        ("COPY --parents a/b/c /d/", {"source": "/", "include_patterns": ("a/b/c",), "required_paths": ("/a/b/c",)}),
        ("COPY --parents a/./b/* /d/", {"source": "/a", "include_patterns": ("b/*",), "required_paths": ()}),
        ("ADD a b", {"unpack": True}),
        ("ADD --unpack=false a b", {"unpack": False}),
        ("ENV X=1\nENV X=2 Y=$X\nCOPY $X /${Y}x", {"source": "/2", "destination": "/1x"}),
    ],
)
async def test_paths(text: str, fields: dict[str, object]) -> None:
    found = await converted(f"FROM a\n{text}", FakeImages({"a": document(WorkingDir="/w")}))
    (change,) = changes(found)
    assert isinstance(change, CopyAction)
    written = msgspec.structs.asdict(change)
    assert {name: written[name] for name in fields} == fields


async def test_several_sources_are_one_operation() -> None:
    found = await converted("FROM a\nCOPY --from=b x y /d/")
    (operation,) = (one for one in operations(found) if isinstance(one, FileOperation))
    assert [(one.input, one.second_input, one.output) for one in operation.actions] == [(0, 1, -1), (2, 1, 0)]


async def test_files_of_an_empty_stage() -> None:
    found = await converted("FROM scratch\nCOPY a /b\nCOPY c /d")
    first, second = (one for one in operations(found) if isinstance(one, FileOperation))
    assert (first.actions[0].input, second.actions[0].input) == (-1, 0)


async def test_files_from_an_empty_stage() -> None:
    found = await converted("FROM a\nCOPY --from=scratch . /b")
    (operation,) = (one for one in operations(found) if isinstance(one, FileOperation))
    assert operation.actions[0].second_input == -1


async def test_urls() -> None:
    digest = "sha256:" + "a" * 64
    found = await converted(f"FROM a\nADD --checksum={digest} https://h/x/y.tar?z /\nADD --unpack http://h/ /e")
    assert HTTPSource(url="https://h/x/y.tar?z", filename="y.tar", checksum=digest) in operations(found)
    assert HTTPSource(url="http://h/", filename="__unnamed__") in operations(found)
    assert [(change.source, change.unpack) for change in changes(found)] == [("/y.tar", False), ("/__unnamed__", True)]


async def test_repositories() -> None:
    found = await converted("FROM a\nADD --keep-git-dir --checksum=abc https://h/x.git#v1:sub /d\nADD git@h:y.git /e")
    sources = [one for one in operations(found) if isinstance(one, GitSource)]
    assert sources[0] == GitSource(
        remote="h/x.git",
        full_url="https://h/x.git",
        reference="v1",
        subdirectory="sub",
        keep_git_dir=True,
        checksum="abc",
        auth_token_secret="GIT_AUTH_TOKEN",
        auth_header_secret="GIT_AUTH_HEADER",
    )
    assert (sources[1].remote, sources[1].full_url, sources[1].ssh_socket) == ("git@h/y.git", "git@h:y.git", "default")


async def test_heredocs() -> None:
    found = await converted('FROM a\nENV X=1\nCOPY <<one <<"two" /d/\n$X \\$X "q"\none\n$X\ntwo')
    made = [change for change in changes(found) if isinstance(change, MkfileAction)]
    assert [(change.path, change.data, change.mode) for change in made] == [
        ("/one", b'1 $X "q"\n', 0o644),
        ("/two", b"$X\n", 0o644),
    ]
    assert history(found)[-1] == "COPY <<one <<two /d/ # buildkit"


async def test_history_has_owner_and_mode() -> None:
    found = await converted("FROM a\nADD --chown=1 --chmod=700 --exclude=x b c /d")
    assert history(found) == ["ADD --chown=1 --chmod=700 b c /d # buildkit"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("COPY https://h/x /", "source can't be a URL for COPY"),
        ("COPY https://h/x.git /", "source can't be a git ref for COPY"),
        ("COPY --chmod=9 a b", "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777"),
        ("COPY --chmod=77777 a b", "invalid chmod parameter: '77777'"),
        ("COPY --chmod=rwx a b", "invalid chmod parameter: 'rwx'"),
        ("ADD --checksum=x a b", "checksum requires HTTP(S) or Git sources"),
        ("ADD --checksum=x https://h/a https://h/b /c", "checksum can't be specified for multiple sources"),
        ("ADD --checksum=x https://h/a /c", "invalid checksum digest format"),
        ("ADD --checksum=b https://h/a.git?checksum=c /c", 'checksum mismatch "b" != "c"'),
        ("ADD --keep-git-dir https://h/a.git?keep-git-dir=0 /c", "inconsistent keep-git-dir configuration"),
    ],
)
async def test_refuses(text: str, error: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        await converted(f"FROM a\n{text}")
    assert str(raised.value).startswith(error)
    assert raised.value.lines == (2, 2)


_URL = "https://h/x.git"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/x.git", GitReference(remote="https://h/x.git")),
        ("https://h/x.git#a:b/c", GitReference(remote="https://h/x.git", reference="a", subdirectory="b/c")),
        ("https://h/x.git?tag=1&subdir=s", GitReference(remote=_URL, reference="refs/tags/1", subdirectory="s")),
        (
            "https://h/x.git?branch=b&submodules=false&keep-git-dir",
            GitReference(remote=_URL, reference="refs/heads/b", submodules=False, keep_git_dir=True),
        ),
        ("ssh://git@h/x#v", GitReference(remote="ssh://git@h/x", reference="v")),
        ("git://h/x", GitReference(remote="git://h/x")),
        ("git@h:x/y.git#v", GitReference(remote="git@h:x/y.git", reference="v")),
        ("https://h/x", None),
        ("http://h/x.git/y", None),
        ("x.git", None),
        ("/a/b.git", None),
        ("http://[", None),
    ],
)  # fmt: skip
def test_git_references(text: str, expected: GitReference | None) -> None:
    assert parse_git(text) == expected


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("ref=", 'query "ref" has no value'),
        ("x=1", 'unexpected query "x"'),
        ("tag=1&branch=2", "branch conflicts with tag"),
        ("ref=a&tag=b", 'ref conflicts: "a" vs "refs/tags/b"'),
        ("submodules=x", 'invalid submodules value: "x"'),
    ],
)
def test_refuses_queries(query: str, error: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse_git(f"https://h/x.git?{query}")
    assert str(raised.value) == error
