"""What package managers have written down, and what anybody may have written in its place."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.sbom.ecosystems import alpine, debian, golang, node, python, system
from darse.build.sbom.licences import expression
from darse.build.sbom.packages import Distribution, Package, short

BOOKWORM = Distribution("debian", "12", "Debian GNU/Linux 12 (bookworm)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n', Distribution("debian", "12", "Debian 12")),
        ("# ID=no\nID='alpine'\nVERSION_ID=3.19.1\n", Distribution("alpine", "3.19.1")),
        ('ID="open\nID=arch\n', Distribution("arch")),
        ("", Distribution()),
        ("no equals\n=\nID=\n", Distribution()),
    ],
)
def test_os_release(text: str, expected: Distribution) -> None:
    assert system.parse(text) == expected


_STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u4
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
Homepage: https://www.gnu.org/software/libc/libc.html

Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b2

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install reinstreq half-installed
Version: 1

Package: epoch
Status: hold ok installed
Version: 1:2.0~rc1

Package: without-version
Status: install ok installed
"""


def test_dpkg_lists_what_is_installed() -> None:
    found = list(debian.parse(_STATUS, "/status", BOOKWORM))
    assert [one.url for one in found] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
        "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12&upstream=bash%405.2.15-2",
        "pkg:deb/debian/epoch@1:2.0~rc1?distro=debian-12",
    ]
    assert found[0].summary == "GNU C Library: Shared libraries"
    assert found[0].author == "GNU Libc Maintainers <debian-glibc@lists.debian.org>"


def test_a_part_of_status_d_has_no_status() -> None:
    (found,) = debian.parse("Package: tzdata\nVersion: 2024a\nArchitecture: all\n", "/part", Distribution())
    assert found.url == "pkg:deb/debian/tzdata@2024a?arch=all"


def test_apk_lists_packages_and_not_their_files() -> None:
    text = (
        "C:Q1abc=\nP:busybox-binsh\nV:1.36.1-r15\nA:x86_64\no:busybox\nL:GPL-2.0-only\nm:A B <a@b>\nF:bin\nR:sh\n"
        "a:0:0:777\n\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\n\nP:no-version\n"
    )
    found = list(alpine.parse(text, "/installed", Distribution("alpine", "3.19")))
    assert [one.url for one in found] == [
        "pkg:apk/alpine/busybox-binsh@1.36.1-r15?arch=x86_64&distro=alpine-3.19&upstream=busybox",
        "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19",
    ]
    assert found[0].licence == "GPL-2.0-only"


@pytest.mark.parametrize(
    ("content", "url"),
    [
        (b"Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.9.0\n\nName: body\n", "typing-extensions@4.9.0"),
        (b"Name: a.b\r\nVersion: 1+local\r\n\r\nx", "a-b@1%2Blocal"),
        (b"Name: first\nName: second\nVersion: 1\n", "first@1"),
        (b"Name: none\n\nVersion: 1\n", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_metadata_of_python(content: bytes, url: str | None) -> None:
    assert [one.url for one in python.parse(content, "/m")] == ([f"pkg:pypi/{url}"] if url else [])


def test_where_python_and_node_install() -> None:
    assert python.is_metadata(["lib", "a-1.dist-info"], "METADATA")
    assert not python.is_metadata(["lib", "a-1.dist-info"], "PKG-INFO")
    assert not python.is_metadata([], "METADATA")
    assert node.is_package(["node_modules", "a"], "package.json")
    assert node.is_package(["x", "node_modules", "@s", "a"], "package.json")
    assert not node.is_package(["node_modules", "a", "test"], "package.json")
    assert not node.is_package(["node_modules"], "package.json")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"name": "a", "version": "1", "license": "MIT"}, ("pkg:npm/a@1", "MIT")),
        ({"name": "@s/a", "version": "1", "license": {"type": "ISC"}}, ("pkg:npm/%40s/a@1", "ISC")),
        ({"name": "a", "version": "1", "licenses": [{"type": "BSD"}, "x"]}, ("pkg:npm/a@1", "BSD")),
        ({"name": "a", "version": "1", "license": [[]], "author": [1], "homepage": 3}, ("pkg:npm/a@1", "")),
        ({"name": "a"}, None),
        ({"name": {"x": 1}, "version": ["1"]}, None),
        ([1], None),
        (1, None),
    ],
)
def test_packages_of_node(document: object, expected: tuple[str, str] | None) -> None:
    found = [(one.url, one.licence) for one in node.parse(json.dumps(document).encode(), "/p")]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"name":' * 100_000, b"", b"{", b'{"name":"\\ud800","version":"1"}']
)
def test_json_that_nobody_wrote_in_earnest(content: bytes) -> None:
    assert list(node.parse(content, "/p")) == []


def _varint(text: bytes) -> bytes:
    length, head = len(text), b""
    while length > 0x7F:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + text


_MODULES = (
    "path\texample.com/app\nmod\texample.com/app\t(devel)\t\ndep\tgithub.com/a/b/v2\tv2.1.0\th1:x=\n"
    "dep\texample.com/old\tv1.0.0\n=>\texample.com/new\tv1.0.1\th1:y=\ndep\texample.com/local\tv0.0.0\n=>\t./local\t\n"
    "build\t-compiler=gc\n"
)


def _information(modules: str = _MODULES, flags: int = 2) -> bytes:
    mark = b"m" * 16
    head = b"\xff Go buildinf:" + bytes([8, flags])
    return head.ljust(32, b"\0") + _varint(b"go1.22.1 X:none") + _varint(mark + modules.encode() + mark)


def test_modules_of_go() -> None:
    assert [one.url for one in golang.parse(_information(), "/app")] == [
        "pkg:golang/stdlib@1.22.1",
        "pkg:golang/example.com/app",
        "pkg:golang/github.com/a/b/v2@v2.1.0",
        "pkg:golang/example.com/new@v1.0.1",
    ]
    assert list(golang.parse(_information(flags=0), "/app")) == []


def _elf(section: bytes, *, offset: int | None = None, count: int = 3) -> bytes:
    names = b"\0.shstrtab\0.go.buildinfo\0"
    table = 64 + len(names) + len(section)
    header = b"\x7fELF\x02\x01\x01".ljust(40, b"\0") + struct.pack("<Q", table)
    header = header.ljust(58, b"\0") + struct.pack("<HHH", 64, count, 1)
    sections = bytes(64)
    for name, at, size in (
        (1, 64, len(names)),
        (11, offset if offset is not None else 64 + len(names), len(section)),
    ):
        sections += struct.pack("<I", name).ljust(24, b"\0") + struct.pack("<QQ", at, size).ljust(40, b"\0")
    return header + names + section + sections


def _found(tmp_path: Path, content: bytes) -> list[Package]:
    (tmp_path / "program").write_bytes(content)
    descriptor = os.open(tmp_path / "program", os.O_RDONLY)
    try:
        return list(golang.find(descriptor, "/program"))
    finally:
        os.close(descriptor)


def test_programs_of_go(tmp_path: Path) -> None:
    assert len(_found(tmp_path, _elf(_information()))) == 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF\x02\x01",
        b"\x7fELF\x02\x01".ljust(200, b"\xff"),
        _elf(_information(), offset=(1 << 64) - 1),
        _elf(_information(), offset=(1 << 62) - 1),
        _elf(_information(), count=1000),
        _elf(b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + b"\xff" * 20),
        _elf(b"\xff Go buildinf:\x08\x02"),
        b"#!/bin/sh\n" * 20,
    ],
)
def test_programs_that_lie(tmp_path: Path, content: bytes) -> None:
    assert _found(tmp_path, content) == []


@given(st.binary(max_size=400))
def test_no_input_is_an_error(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    for one in (
        *debian.parse(text, "/p", BOOKWORM),
        *alpine.parse(text, "/p", BOOKWORM),
        *python.parse(content, "/p"),
        *node.parse(content, "/p"),
        *golang.parse(content, "/p"),
        *golang.parse(_information()[:32] + content, "/p"),
    ):
        assert one.name
    system.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo", "one"),
        (" a\x1b[31mb\x00 ", "a[31mb"),
        ("x" * 5000, "x" * 1000),
        ("half \ud800 pair", "half  pair"),
        (None, ""),
        (7, ""),
    ],
)
def test_fields_are_short_lines(text: object, expected: str) -> None:
    assert short(text) == expected


@pytest.mark.parametrize("text", ["MIT", "(MIT OR Apache-2.0)", "GPL-2.0-only AND (MIT OR ISC)"])
def test_known_licences_stand_as_they_are(text: str) -> None:
    assert expression(text) == (text, "")


@pytest.mark.parametrize(
    "text", ["BSD", "MIT license", "MIT OR", "(MIT", "MIT)", "MIT ISC", "() MIT", "see LICENSE", "GPL-9.9"]
)
def test_other_licences_are_references(text: str) -> None:
    reference, kept = expression(text)
    assert reference.startswith("LicenseRef-")
    assert kept == text


@pytest.mark.parametrize("text", ["", "UNKNOWN", "NOASSERTION"])
def test_no_licence_is_no_assertion(text: str) -> None:
    assert expression(text) == ("NOASSERTION", "")
