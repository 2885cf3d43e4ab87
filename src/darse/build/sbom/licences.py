"""What packages say of their licences as SPDX documents may say it (SPDX 2.3, annex D).

An expression of well-known identifiers stands as it is. Any other text gets a `LicenseRef-`, whose text is in the
document: an identifier that is on no list would make the document invalid.
"""

from __future__ import annotations

import hashlib
import re

NO_ASSERTION = "NOASSERTION"
_WORD = re.compile(r"\(|\)|[A-Za-z0-9.+-]+|\S")
_OPERATORS = frozenset({"AND", "OR"})
_KNOWN = frozenset(
    "0BSD AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl "
    "Artistic-2.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 BlueOak-1.0.0 bzip2-1.0.6 CC-BY-3.0 "
    "CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 curl EPL-1.0 EPL-2.0 EUPL-1.2 FTL GFDL-1.2-or-later "
    "GFDL-1.3-or-later GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND ICU IJG ISC "
    "LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng MIT MIT-0 "
    "MPL-1.1 MPL-2.0 MS-PL NCSA NTP OFL-1.1 OLDAP-2.8 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby Sleepycat "
    "TCL Unicode-DFS-2016 Unlicense UPL-1.0 Vim W3C WTFPL X11 Zlib zlib-acknowledgement ZPL-2.1".split()
)


def expression(text: str) -> tuple[str, str]:
    """The expression for what a package says, and, where it has a reference, the text that this stands for."""
    if not text or text.upper() in ("UNKNOWN", "NONE", NO_ASSERTION):
        return NO_ASSERTION, ""
    if _is_valid(text):
        return text, ""
    return f"LicenseRef-{hashlib.sha256(text.encode()).hexdigest()[:16]}", text


def _is_valid(text: str) -> bool:
    """Whether it is known identifiers with operators between them, and closed brackets."""
    depth = 0
    expects_name = True
    for word in _WORD.findall(text):
        if word == "(":
            if not expects_name:
                return False
            depth += 1
        elif word == ")":
            depth -= 1
            if expects_name or depth < 0:
                return False
        elif expects_name:
            if word not in _KNOWN:
                return False
            expects_name = False
        else:
            if word not in _OPERATORS:
                return False
            expects_name = True
    return not expects_name and depth == 0
