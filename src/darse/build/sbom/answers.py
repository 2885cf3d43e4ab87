"""What the scanning process and the engine agree on. The engine loads this, and none of what the process does."""

from __future__ import annotations

PREDICATE_TYPE = "https://spdx.dev/Document"
#: The descriptor of the tree's root.
ROOT = 3
#: Kinds of answers, which a NUL and a text follow.
DOCUMENT, FAULT = b"document", b"fault"
