"""Graphs on the wire and back."""

from __future__ import annotations

import hashlib

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
from darse.buildkit.encoded_definitions import encode, encoded_operation
from darse.buildkit.wire import ops_pb2
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


async def test_lines_of_the_dockerfile_are_those_of_its_steps() -> None:
    found = (await converted("FROM base\nRUN one\nRUN two && \\\n  three\n")).definition
    source = ops_pb2.SourceInfo(filename="Dockerfile", data=b"FROM base", language="Dockerfile")
    made = encode(found, source)
    assert list(made.Source.infos) == [source]
    operations = {
        f"sha256:{hashlib.sha256(one).hexdigest()}": ops_pb2.Op.FromString(one) for one in getattr(made, "def")
    }
    lines = {}
    for digest, places in made.Source.locations.items():
        (place,) = places.locations
        (span,) = place.ranges
        assert place.sourceIndex == 0
        lines[operations[digest].WhichOneof("op"), span.start.line, span.end.line] = digest
    assert sorted(lines) == [("exec", 2, 2), ("exec", 3, 4), ("source", 1, 1)]
    again = decode(made)
    assert {one.lines for one in again.metadata.values()} == {one.lines for one in found.metadata.values()}
    assert not encode(found).HasField("Source")


async def test_an_operation_alone_has_the_bytes_that_it_has_in_its_graph() -> None:
    """With the members of `oneof` last, as Go encodes them: its clients look for the step that failed so."""
    found = (await converted("FROM base\nRUN one\nCOPY a b\n", platform="linux/arm64")).definition
    encoded = getattr(encode(found), "def")
    for position, vertex in enumerate(found.vertices):
        operation = encoded_operation(found, vertex)
        assert operation is not None
        assert operation == ops_pb2.Op.FromString(encoded[position])
        kind = operation.WhichOneof("op")
        assert kind is not None
        member = getattr(operation, kind).SerializeToString(deterministic=True)
        assert encoded[position].endswith(member)
    assert encoded_operation(found, "sha256:none") is None
