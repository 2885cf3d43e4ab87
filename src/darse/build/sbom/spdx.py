"""Documents in SPDX 2.3, as JSON: https://spdx.github.io/spdx-spec/v2.3/.

    DOCUMENT ── DESCRIBES ── the file system ── CONTAINS ── each package

The same tree gives the same document, byte for byte, where its time is the same: images are named by their content.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import uuid
from typing import Any

import msgspec

from darse import __version__
from darse.build.sbom.licences import NO_ASSERTION, expression
from darse.build.sbom.packages import Package
from darse.build.sbom.scan import Scan

_DOCUMENT, _ROOT = "SPDXRef-DOCUMENT", "SPDXRef-Root"
_MAIL = re.compile(r"[^\s()<>@]+@[^\s()<>@]+")
_SPACE = uuid.UUID("5c0a6c0e-6f0e-5c8e-9a45-7d3e1b1f6c11")


def document(scan: Scan, name: str, created: int) -> bytes:
    """The document of a scan. name: what was scanned. created: seconds since the epoch."""
    licences: dict[str, str] = {}
    packages = [_root(scan, name), *(_package(one, licences) for one in scan.packages)]
    moment = datetime.datetime.fromtimestamp(created, datetime.UTC)
    creation = {"created": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": [f"Tool: darse-{__version__}"]}
    if scan.notes:
        creation["comment"] = "\n".join(scan.notes)
    made: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": name,
        "documentNamespace": "",
        "creationInfo": creation,
        "packages": packages,
        "relationships": [
            _relationship(_DOCUMENT, "DESCRIBES", _ROOT),
            *(_relationship(_ROOT, "CONTAINS", one["SPDXID"]) for one in packages[1:]),
        ],
    }
    if licences:
        made["hasExtractedLicensingInfos"] = [
            {"licenseId": identifier, "name": text, "extractedText": text} for identifier, text in licences.items()
        ]
    content = hashlib.sha256(msgspec.json.encode(made)).hexdigest()
    made["documentNamespace"] = f"urn:uuid:{uuid.uuid5(_SPACE, content)}"
    return msgspec.json.encode(made)


def _relationship(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _root(scan: Scan, name: str) -> dict[str, Any]:
    """The file system that was scanned, as a package."""
    found: dict[str, Any] = {
        "SPDXID": _ROOT,
        "name": name,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
    }
    if scan.system.name:
        found["summary"] = scan.system.name
    return found


def _package(package: Package, licences: dict[str, str]) -> dict[str, Any]:
    """One package; the texts of licences that no list has go to `licences`."""
    declared, text = expression(package.licence)
    if text:
        licences[declared] = text
    identity = hashlib.sha256(f"{package.url}\n{package.place}".encode()).hexdigest()[:24]
    found: dict[str, Any] = {
        "SPDXID": f"SPDXRef-Package-{package.kind}-{identity}",
        "name": _name(package),
        "supplier": NO_ASSERTION,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "sourceInfo": f"found in {package.place}",
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": declared,
        "copyrightText": NO_ASSERTION,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.url,
            }
        ],
    }
    if package.version:
        found["versionInfo"] = package.version
    if author := _person(package.author):
        found["originator"] = f"Person: {author}"
    if package.homepage.startswith(("http://", "https://")) and " " not in package.homepage:
        found["homepage"] = package.homepage
    if package.summary:
        found["summary"] = package.summary
    return found


def _name(package: Package) -> str:
    """As its users write it: of npm and Go the scope, and the path, belong to it."""
    if package.namespace and package.kind in ("npm", "golang"):
        return f"{package.namespace}/{package.name}"
    return package.name


def _person(author: str) -> str:
    """`NAME (MAIL)`, of `NAME <MAIL>`."""
    name, bracket, rest = author.partition("<")
    mail = rest.partition(">")[0].strip()
    name = name.partition("(")[0].strip() or mail
    return f"{name} ({mail})" if bracket and _MAIL.fullmatch(mail) else name
