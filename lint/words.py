"""Words that the field does not use, and what it says instead (docs/glossary.md).

NAMES are refused in the names of modules, classes, functions, parameters, variables, attributes and flags, word by
word: `_be_patient` has the word `patient`. PHRASES are refused in texts: messages, help, docstrings and comments in the
sources, and the documentation.
"""

from __future__ import annotations

# Word or words of a name -> the term.
NAMES = {
    "ahead": "pool, pre-started",
    "announcing": "events",
    "appointment": "scheduled retry",
    "assembly": "preparation",
    "becomes stream": "detach_from_drain",
    "by hand": "manually",
    "carrier": "hijacked connection",
    "choosing subnets": "subnet allocation lock",
    "confidences": "secrets",
    "deafen": "unwatch",
    "doubtful": "unsynced",
    "farewell": "drain",
    "favor moves": "favordynmods",
    "file uses": "leases",
    "forget": "delete, remove, release, drop: what is done",
    "forgotten": "GC result",
    "give back": "release",
    "healer": "repair",
    "hostfacts": "sysinfo",
    "hostlock": "allocation lock",
    "incoming": "archive reader, ingest",
    "keep aside": "buffer",
    "last word": "exit notification",
    "last words": "exit notification",
    "launching": "ConmonProcess",
    "most telling": "most specific error",
    "mend": "repair",
    "name files": "etc files",
    "news": "progress, event",
    "onlooker": "late attachment",
    "onlookers": "late attachments",
    "patience": "timeout, retry, backoff",
    "patient": "timeout, backoff",
    "power loss": "unclean shutdown, crash recovery",
    "realize": "ensure",
    "rebuilder": "reassemble",
    "recipe": "tar-split metadata",
    "refusal": "error response",
    "refusals": "error response",
    "restart or rest": "restart policy",
    "said": "reported, logged",
    "shifted": "remapped",
    "station": "bundle",
    "stranger": "untrusted, orphan",
    "strangers": "untrusted, orphans",
    "tell": "report, notify, deliver",
    "told": "reported, progress",
    "underway": "in flight",
    "untrustworthy": "invalid content",
    "until done": "wait",
    "wanted": "required, requested, desired",
    "way out": "default gateway",
    "whose": "owner",
    "withdraw": "unmap, remove",
}

# Phrase -> plainly. Letters of either case; a space stands for any white space.
PHRASES = {
    "are wanted": "are required, must be",
    "is wanted": "is required, must be",
    "for want of": "because there is no, out of",
    "strangers": "untrusted input, orphans",
    "a stranger": "untrusted, an orphan",
    "patience": "timeout",
    "unless told": "by default",
    "is told": "is reported, gets, receives",
    "are told": "are reported, get, receive",
    "was told": "was reported, received",
    "as told": "as requested",
    "has told": "has reported",
    "tells of": "reports",
    "dockerd's sake": "for compatibility with dockerd",
    "seen through": "transparency",
    "sees through": "shows",
    "where is asked": "endpoints",
    "who asks": "authentication",
    "what we saw": "results",
    "way of a packet": "packet flow",
    "request's way": "request flow",
    "made an appointment": "scheduled a retry",
}

# Flags that keep their former name beside the new one.
FORMER_FLAGS = {"cgroup-favor-moves"}

# As PHRASES, but code must know the old name of a flag, so it is refused in the documentation only.
DOC_PHRASES = {
    "cgroup-favor-moves": "--cgroup-favordynmods",
}
