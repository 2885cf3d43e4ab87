"""Graphs on the wire and back."""

from __future__ import annotations

import pytest

from darse.build.graph import (
    CopyAction,
    DiffOperation,
    FileAction,
    FileOperation,
    FileOwner,
    GraphBuilder,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    RemoveAction,
    SymlinkAction,
    UserName,
    VertexMetadata,
)
from darse.buildkit.definitions import decode
from darse.buildkit.encoded_definitions import encode
from tests.unit.build.dockerfile.convert.support import converted

PROCESSES = """
FROM base AS one
RUN --mount=type=cache,target=/c,sharing=locked --mount=type=secret,id=key,uid=3,mode=0440,required \\
    --mount=type=ssh --mount=type=tmpfs,target=/t,size=1000 --network=none make
RUN --mount=type=bind,source=/x,target=/y --mount=type=secret,id=token,env=TOKEN true
USER me
WORKDIR /made
RUN cat <<EOF
here
EOF
"""
FILES = """
FROM base AS one
FROM base
COPY --chown=me:7 --chmod=u+x --exclude=*.log a b /dir/
COPY --from=one --link /etc /etc
ADD https://example.com/x.tar /x/
ADD --keep-git-dir https://github.com/moby/buildkit.git#v1:sub /git
COPY <<EOF /here
content
EOF
"""


@pytest.mark.parametrize("dockerfile", [PROCESSES, FILES], ids=["processes", "files"])
async def test_a_dockerfiles_graph_is_the_same_on_the_other_side(dockerfile: str) -> None:
    found = await converted(
        dockerfile, extra_hosts=(("name", "10.0.0.1"),), no_cache=True, source_date_epoch=7, session="other"
    )
    again = decode(encode(found.definition))
    assert again.vertices == found.definition.vertices
    assert again.result == found.definition.result
    for vertex, metadata in found.definition.metadata.items():
        assert again.metadata[vertex].name == metadata.name
        assert again.metadata[vertex].ignore_cache == metadata.ignore_cache


def test_a_graph_that_no_dockerfile_gives_is_the_same_on_the_other_side() -> None:
    graph = GraphBuilder()
    owner = FileOwner(7, 8)
    actions = (
        FileAction(MkdirAction(path="/d", make_parents=True, owner=owner), output=-1),
        FileAction(MkfileAction(path="/d/f", data=b"\0\xff", mode=0o600, timestamp=0), 0, output=-1),
        FileAction(SymlinkAction(target="f", path="/d/l", timestamp=5), 1, output=-1),
        FileAction(RemoveAction(path="/d/*", allow_not_found=True, allow_wildcard=True), 2, output=0),
    )
    one = graph.add(FileOperation(actions), metadata=VertexMetadata("files", export_cache=False, progress_group="g"))
    by_name = FileOwner(UserName("me", 0), UserName("us", 0))
    copy = CopyAction(
        source="/d", destination="/e", mode=0, owner=by_name, include_patterns=("a",), required_paths=("b",)
    )
    two = graph.add(FileOperation((FileAction(copy, 0, 0, 0),)), [one], platform="linux/arm64/v8")
    merged = graph.add(MergeOperation((0, -1, 1)), [one, two], constraints=("a==b",))
    given = graph.definition(graph.add(DiffOperation(-1, 0), [merged]))
    again = decode(encode(given))
    assert again.vertices == given.vertices
    assert again.result == given.result
    metadata = again.metadata[one.vertex]
    assert (metadata.name, metadata.export_cache, metadata.progress_group) == ("files", False, "g")


def test_the_empty_tree_has_no_operation() -> None:
    assert not getattr(encode(GraphBuilder().definition(None)), "def")
