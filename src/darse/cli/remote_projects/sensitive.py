"""What looks like a secret in files that are to be published.

Each kind has the form that its issuer documents; beside those with a form of their own, assignments to names such as
`DB_PASSWORD`, unless the value is a variable, and so is not in the file. This is a net for accidents: what looks like
nothing in particular goes through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FORMS = {
    "AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,})\b",
    "GitLab token": r"\bglpat-[0-9A-Za-z_-]{20,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "npm token": r"\bnpm_[0-9A-Za-z]{36}\b",
    "Slack token": r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}",
    "Slack webhook": r"https://hooks\.slack\.com/services/[0-9A-Za-z/]{20,}",
    "Stripe key": r"\b[rs]k_live_[0-9A-Za-z]{20,}\b",
    "SendGrid key": r"\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
    "Twilio key": r"\bSK[0-9a-f]{32}\b",
    "Docker Hub token": r"\bdckr_(?:pat|oat)_[0-9A-Za-z_-]{20,}",
    "JSON web token": r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "password in a URL": r"[a-z][a-z0-9+.-]*://[^\s/:@'\"$]+:[^\s/@'\"$]{3,}@",
    "value of a sensitive name": (
        r"(?i:[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api_?key|private_?key|access_?key|credentials?)[\w.-]*)"
        r"[\"']?\s*[:=]\s*[\"']?(?![\s\"'\[\]{}|>*&!$#]|true\b|false\b|null\b|/)[^\s\"'$]{3,}"
    ),
}
# Names that end so say where a secret is, or how long it is good for.
_NO_VALUE = re.compile(r"(?i:_?(?:file|path|name|url|ttl|expiry|id))[\"']?\s*[:=]")
_SHOWN = 4


class SuspectedSecret(NamedTuple):
    """A place that looks like a secret: what it may be, the file and the line, and the beginning of the text."""

    kind: str
    file: str
    line: int
    beginning: str


def findings(name: str, text: str) -> Iterator[SuspectedSecret]:
    """What looks like a secret in a file; of each line what is known by its form, or else by its name."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for kind, form in _FORMS.items():
            found = re.search(form, line)
            if found is None or _NO_VALUE.search(found[0]):
                continue
            yield SuspectedSecret(kind, name, number, _beginning(found[0]))
            break


def _beginning(found: str) -> str:
    """Enough to find the place again; not the secret itself, for a terminal may be read by others."""
    name, separator, value = (
        re.split(r"([:=]\s*)", found, maxsplit=1)
        if re.match(r"[\w.\"'-]+\s*[:=]", found)
        else (
            "",
            "",
            found,
        )
    )
    return f"{name}{separator}{value[:_SHOWN]}…"
