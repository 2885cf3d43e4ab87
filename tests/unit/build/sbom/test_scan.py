"""Scans of whole trees, and their documents."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from darse.build.errors import BuildError
from darse.build.sbom import scan as scanning
from darse.build.sbom.ecosystems import debian
from darse.build.sbom.generator import read_bills
from darse.build.sbom.scan import Scan, scan
from darse.build.sbom.spdx import document


def _scan(root: Path) -> Scan:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return scan(descriptor)
    finally:
        os.close(descriptor)


def _write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


_FILES: dict[str, str | bytes] = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n",
    "var/lib/dpkg/status": "Package: bash\nStatus: install ok installed\nVersion: 5\nMaintainer: M <m@example.com>\n",
    "var/lib/dpkg/status.d/tz": "Package: tz\nVersion: 1\n",
    "var/lib/dpkg/status.d/tz.md5sums": "Package: not\nVersion: 1\n",
    "lib/apk/db/installed": "P:musl\nV:1\nL:MIT\n\n",
    "usr/lib/python3/dist-packages/six-1.dist-info/METADATA": "Name: six\nVersion: 1\nLicense: odd words\n",
    "app/node_modules/@s/p/package.json": '{"name": "@s/p", "version": "2"}',
    "proc/node_modules/p/package.json": '{"name": "p", "version": "2"}',
    "var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0",
}


def test_a_tree_with_everything(tmp_path: Path) -> None:
    _write(tmp_path, _FILES)
    found = _scan(tmp_path)
    assert [one.url for one in found.packages] == [
        "pkg:apk/debian/musl@1?distro=debian-12",
        "pkg:deb/debian/bash@5?distro=debian-12",
        "pkg:deb/debian/tz@1?distro=debian-12",
        "pkg:npm/%40s/p@2",
        "pkg:pypi/six@1",
    ]
    assert found.notes == ("the rpm database /var/lib/rpm/rpmdb.sqlite is not read: its packages are not listed",)


def test_links_do_not_lead_out_and_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _write(outside, _FILES)
    root = tmp_path / "root"
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/dpkg").symlink_to(outside / "var/lib/dpkg")
    (root / "etc").symlink_to("../outside/etc")
    (root / "app").symlink_to("../outside/app")
    (root / "node_modules").mkdir()
    (root / "node_modules/p").mkdir()
    os.mkfifo(root / "node_modules/p/package.json")
    (root / "node_modules/q").mkdir()
    (root / "node_modules/q/package.json").symlink_to(outside / "app/node_modules/@s/p/package.json")
    (root / "lib/apk/db").mkdir(parents=True)
    os.mkfifo(root / "lib/apk/db/installed")
    os.mkfifo(root / "program", 0o777)
    assert _scan(root).packages == ()


def test_bounds_are_kept_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MOST_PACKAGES", 3)
    monkeypatch.setattr(scanning, "_MOST_DEPTH", 4)
    _write(tmp_path, {f"node_modules/p{n}/package.json": f'{{"name": "p{n}", "version": "1"}}' for n in range(5)})
    _write(tmp_path, {"1/2/3/4/5/node_modules/deep/package.json": '{"name": "deep", "version": "1"}'})
    found = _scan(tmp_path)
    assert len(found.packages) == 3
    assert any("more than 3 packages" in note for note in found.notes)
    monkeypatch.setattr(scanning, "_MOST_PACKAGES", 100)
    found = _scan(tmp_path)
    assert len(found.packages) == 5
    assert any("deeper than 4" in note for note in found.notes)


def test_a_database_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, _FILES)
    monkeypatch.setattr(debian, "_LIMIT", 10)
    found = _scan(tmp_path)
    assert "/var/lib/dpkg/status is too large to be read: its packages are not listed" in found.notes
    assert "bash" not in {one.name for one in found.packages}


def _relations(made: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["spdxElementId"], one["relationshipType"], one["relatedSpdxElement"]) for one in made["relationships"]}


def test_the_document_of_a_tree(tmp_path: Path) -> None:
    _write(tmp_path, _FILES)
    text = document(_scan(tmp_path), "sbom", 1_700_000_000)
    assert text == document(_scan(tmp_path), "sbom", 1_700_000_000)
    made = json.loads(text)
    assert (made["spdxVersion"], made["dataLicense"], made["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert made["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert "rpm database" in made["creationInfo"]["comment"]
    root, *packages = made["packages"]
    assert root["primaryPackagePurpose"] == "CONTAINER"
    by_name = {one["name"]: one for one in packages}
    assert set(by_name) == {"musl", "bash", "tz", "@s/p", "six"}
    assert by_name["bash"]["originator"] == "Person: M (m@example.com)"
    assert by_name["musl"]["licenseDeclared"] == "MIT"
    (licence,) = made["hasExtractedLicensingInfos"]
    assert by_name["six"]["licenseDeclared"] == licence["licenseId"]
    assert licence["extractedText"] == "odd words"
    identifiers = {one["SPDXID"] for one in packages}
    assert len(identifiers) == 5
    assert _relations(made) == {("SPDXRef-DOCUMENT", "DESCRIBES", root["SPDXID"])} | {
        (root["SPDXID"], "CONTAINS", one) for one in identifiers
    }
    other = json.loads(document(_scan(tmp_path), "sbom-other", 1_700_000_000))
    assert other["documentNamespace"] != made["documentNamespace"]


def test_an_empty_tree_has_a_document(tmp_path: Path) -> None:
    made = json.loads(document(_scan(tmp_path), "sbom", 0))
    assert len(made["packages"]) == 1
    assert "hasExtractedLicensingInfos" not in made


def _bills(root: Path) -> list[str]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return [one.name for one in read_bills(descriptor)]
    finally:
        os.close(descriptor)


def test_what_a_scanner_in_an_image_writes(tmp_path: Path) -> None:
    statement = json.dumps({"predicateType": "https://spdx.dev/Document", "predicate": {"a": 1}})
    _write(tmp_path, {"a.spdx.json": statement, "sbom.spdx.json": statement, "sbom-x.spdx.json": statement})
    assert _bills(tmp_path) == ["sbom.spdx.json", "a.spdx.json", "sbom-x.spdx.json"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no bill of materials"),
        ({"a": "{"}, "cannot decode"),
        ({"a": "{}"}, "cannot decode"),
        ({"a": "[" * 100_000}, "cannot decode"),
        ({"a": '{"predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}'}, "may not attest provenance"),
        ({"a/b": "{}"}, "is no file"),
        ({f"a{n}": '{"predicateType": "x", "predicate": {}}' for n in range(101)}, "more than 100 files"),
    ],
)
def test_what_a_scanner_may_not_write(tmp_path: Path, files: dict[str, str | bytes], words: str) -> None:
    _write(tmp_path, files)
    with pytest.raises(BuildError, match=words):
        _bills(tmp_path)


def test_a_scanner_may_not_write_a_link(tmp_path: Path) -> None:
    _write(tmp_path, {"outside": '{"predicateType": "x", "predicate": {}}'})
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/a.spdx.json").symlink_to("../outside")
    with pytest.raises(BuildError, match="is no file"):
        _bills(tmp_path / "out")
