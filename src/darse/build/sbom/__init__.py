"""Bills of materials: what software an image has, as SPDX 2.3 documents, attested beside its provenance.

scan.py        one walk over a tree: who has installed what in it
ecosystems/    the package databases and manifests, a module for each
spdx.py        what was found as a document
worker.py      scan and document in a process that sees nothing but the tree: anybody has written it
scanner.py     the engine's side of that process
answers.py     what both of them agree on
generator.py   scanners in images, by BuildKit's protocol (`docs/attestations/sbom-protocol.md`)
service.py     the bills of a build, by either
"""
