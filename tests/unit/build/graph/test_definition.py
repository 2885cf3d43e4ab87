"""Vertices, their digests, and the builder."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.errors import InvalidGraph
from darse.build.graph import (
    CopyAction,
    DiffOperation,
    Edge,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    GraphBuilder,
    ImageSource,
    LocalSource,
    MergeOperation,
    MkdirAction,
    ProcessMeta,
    Vertex,
    VertexMetadata,
)
from darse.build.graph.operations import Operation, output_count

_IMAGE = ImageSource(reference="docker.io/library/alpine:latest")


def _run(*words: str) -> ExecOperation:
    return ExecOperation(ProcessMeta(words), (ExecMount("/", 0, output=0),))


def test_equal_work_has_one_digest() -> None:
    one, other = GraphBuilder(), GraphBuilder()
    for builder in (one, other):
        builder.add(_run("true"), [builder.add(_IMAGE)])
    assert list(one.definition(one.add(_run("true"), [one.add(_IMAGE)])).vertices) == list(
        other.definition(other.add(_run("true"), [other.add(_IMAGE)])).vertices
    )


def test_digests_stay_the_same_from_one_version_to_the_next() -> None:
    """What was cached by an engine is found by its successor: a change here needs a new version in the digest."""
    builder = GraphBuilder()
    base = builder.add(_IMAGE, platform="linux/amd64")
    made = builder.add(FileOperation((FileAction(MkdirAction(path="/a"), 0, output=0),)), [base])
    run = builder.add(_run("true"), [made])
    assert [base.vertex[7:19], made.vertex[7:19], run.vertex[7:19]] == DIGESTS


DIGESTS = ["e0859ad4a33a", "810f3f729836", "8be6c089b0c0"]


@pytest.mark.parametrize(
    "changed",
    [
        Vertex(_run("false"), (Edge("sha256:1"),)),
        Vertex(_run("true"), (Edge("sha256:2"),)),
        Vertex(_run("true"), (Edge("sha256:1", 1),)),
        Vertex(_run("true"), (Edge("sha256:1"),), "linux/arm64"),
        Vertex(_run("true"), (Edge("sha256:1"),), constraints=("x==y",)),
    ],
)
def test_every_part_is_in_the_digest(changed: Vertex) -> None:
    assert changed.digest() != Vertex(_run("true"), (Edge("sha256:1"),)).digest()


@given(st.binary(max_size=20), st.text(max_size=10))
def test_any_bytes_and_texts_have_a_digest(data: bytes, text: str) -> None:
    operation = ExecOperation(ProcessMeta((text, data.decode("latin-1"))), (ExecMount("/"),))
    assert len(Vertex(operation).digest()) == 71


def test_names_shown_to_users_are_not_in_the_digest() -> None:
    builder = GraphBuilder()
    plain = builder.add(_IMAGE)
    assert builder.add(_IMAGE, metadata=VertexMetadata(name="[1/2] FROM alpine")) == plain


def test_metadata_of_the_same_vertex_is_joined() -> None:
    builder = GraphBuilder()
    builder.add(_IMAGE, metadata=VertexMetadata("first", lines=((3, 3),)))
    edge = builder.add(
        _IMAGE, metadata=VertexMetadata("second", ignore_cache=True, export_cache=False, lines=((1, 1),))
    )
    joined = builder.definition(edge).metadata[edge.vertex]
    assert joined == VertexMetadata("first", True, {}, False, "", ((1, 1), (3, 3)))


def test_a_definition_has_only_what_the_result_needs_in_order() -> None:
    builder = GraphBuilder()
    base = builder.add(_IMAGE)
    builder.add(LocalSource(name="unused"))
    left, right = builder.add(_run("left"), [base]), builder.add(_run("right"), [base])
    end = builder.add(MergeOperation((0, 1)), [left, right])
    definition = builder.definition(end)
    assert list(definition.vertices) == [base.vertex, left.vertex, right.vertex, end.vertex]
    assert definition.result == end


def test_scratch_is_a_definition_without_vertices() -> None:
    assert GraphBuilder().definition(None).vertices == {}


def test_a_long_chain_of_vertices_needs_no_recursion() -> None:
    builder = GraphBuilder()
    edge = builder.add(_IMAGE)
    for number in range(20_000):
        edge = builder.add(FileOperation((FileAction(MkdirAction(path=f"/{number}"), 0, output=0),)), [edge])
    assert len(builder.definition(edge).vertices) == 20_001


def test_an_output_that_is_not_there() -> None:
    builder = GraphBuilder()
    with pytest.raises(InvalidGraph, match="invalid output 1"):
        builder.add(_IMAGE, output=1)
    with pytest.raises(InvalidGraph, match="missing input digest sha256:0"):
        builder.add(_run("true"), [Edge("sha256:0")])
    with pytest.raises(InvalidGraph, match="missing input digest"):
        builder.definition(Edge("sha256:0"))


def test_a_process_without_outputs_cannot_be_an_input() -> None:
    builder = GraphBuilder()
    with pytest.raises(InvalidGraph, match="it has 0"):
        builder.add(ExecOperation(ProcessMeta(("true",)), (ExecMount("/"),)))


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        (_IMAGE, 1),
        (DiffOperation(), 1),
        (ExecOperation(ProcessMeta(("x",)), (ExecMount("/", output=1), ExecMount("/a", output=0), ExecMount("/b"))), 2),
        (
            FileOperation(
                (FileAction(MkdirAction(path="/a")), FileAction(CopyAction(source="/", destination="/"), 0, 1, 0))
            ),
            1,
        ),
    ],
)
def test_outputs_of_operations(operation: Operation, count: int) -> None:
    assert output_count(operation) == count


def test_structs_are_frozen_and_hashable() -> None:
    vertex = Vertex(_run("true"), (Edge("x"),))
    assert hash(vertex) == hash(Vertex(_run("true"), (Edge("x"),)))
    with pytest.raises(AttributeError):
        vertex.platform = "linux/arm64"  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(vertex), type=Vertex) == vertex
