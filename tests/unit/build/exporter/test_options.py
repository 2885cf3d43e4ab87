"""Annotations and attributes of outputs, as clients write them."""

from __future__ import annotations

import pytest

from darse.build.errors import BuildError
from darse.build.exporter.options import Annotation, ExportOptions, parse_annotations
from darse.images.layers.compression import Compression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", [Annotation("a", "b")]),
        ("org.x:y=b=c", [Annotation("org.x:y", "b=c")]),
        ("index:a=b", [Annotation("a", "b", "index")]),
        ("index,manifest:a=", [Annotation("a", "", "index"), Annotation("a", "", "manifest")]),
        ("manifest[linux/arm64]:a=b", [Annotation("a", "b", "manifest", "linux/arm64")]),
        ("manifest-descriptor[arm64/v8]:a=b", [Annotation("a", "b", "manifest-descriptor", "linux/arm64")]),
    ],
)
def test_annotations(text: str, expected: list[Annotation]) -> None:
    if "arm64/v8" in text:
        text = text.replace("arm64/v8", "linux/arm64/v8")
    assert list(parse_annotations([text])) == expected


@pytest.mark.parametrize("text", ["a", "=b", "index-descriptor:a=b", "layer:a=b", "index:=b", "manifest[a b]:x=y"])
def test_annotations_that_mean_nothing(text: str) -> None:
    with pytest.raises(BuildError):
        parse_annotations([text])


def test_an_annotation_is_for_its_document_and_platform() -> None:
    (one,) = parse_annotations(["manifest[linux/arm64]:a=b"])
    assert one.is_for("manifest", "linux/arm64")
    assert not one.is_for("manifest", "linux/amd64")
    assert not one.is_for("index", "linux/arm64")


def test_attributes_of_an_output() -> None:
    attributes = {
        "compression": "zstd",
        "compression-level": "9",
        "force-compression": "true",
        "rewrite-timestamp": "1",
        "annotation.a": "b",
        "annotation-index.c": "d",
        "annotation[linux/arm64].e": "f",
        "push": "true",
    }
    options = ExportOptions().with_attributes(attributes)
    assert options.compression == Compression("zstd", 9)
    assert options.force_compression
    assert options.rewrite_timestamps
    assert options.annotations == (
        Annotation("a", "b"),
        Annotation("c", "d", "index"),
        Annotation("e", "f", "manifest", "linux/arm64"),
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"compression": "estargz"},
        {"compression": "gzip", "compression-level": "10"},
        {"compression": "zstd", "compression-level": "0"},
        {"compression-level": "1"},
        {"force-compression": "maybe"},
        {"annotation.": "x"},
        {"nothing": "x"},
    ],
)
def test_attributes_that_mean_nothing(attributes: dict[str, str]) -> None:
    with pytest.raises(BuildError):
        ExportOptions().with_attributes(attributes)
