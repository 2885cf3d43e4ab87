"""White space as Go knows it."""

from __future__ import annotations

# Go's unicode.IsSpace, which str.isspace is not: that one has the separators U+001C to U+001F, too.
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
