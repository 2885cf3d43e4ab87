"""Times as the API has them.

It writes RFC 3339 in UTC with nanoseconds, trailing zeros dropped as Go does. It reads (`since`, `until`) Unix seconds
with an optional fraction ("1700000000.123456789"), which is what the docker CLI sends, RFC 3339 in its several
precisions, and durations ("10m"), which are counted back from now.
"""

from __future__ import annotations

import datetime
import re
import time

from darse.core.errors import InvalidParameter
from darse.durations import InvalidDuration, parse_duration

# What Go prints for a time that was never set; clients test for it.
ZERO = "0001-01-01T00:00:00Z"

_UNIX = re.compile(r"(-?[0-9]{1,15})(?:\.([0-9]{1,9})[0-9]*)?\Z", re.ASCII)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T([0-9]{2}(?::[0-9]{2}(?::[0-9]{2})?)?)(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?\Z",
    re.ASCII,
)


def rfc3339(nanoseconds: int) -> str:
    """Return a time since the epoch as text; 0 is the API's "never"."""
    if nanoseconds == 0:
        return ZERO
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def parse_time(text: str, name: str) -> int:
    """Return nanoseconds since the epoch. Raises InvalidParameter, naming the query field."""
    if found := _UNIX.match(text):
        seconds, fraction = found.groups()
        return int(seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
    if found := _RFC3339.match(text):
        return _from_calendar(text, name, *found.groups())
    try:
        return time.time_ns() - parse_duration(text)
    except InvalidDuration:
        raise InvalidParameter(f'invalid value for "{name}": {text[:64]!r} is no time') from None


def _from_calendar(text: str, name: str, day: str, clock: str | None, fraction: str | None, zone: str | None) -> int:
    full = {None: "00:00:00", 2: f"{clock}:00:00", 5: f"{clock}:00", 8: clock}[len(clock) if clock else None]
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{full}{'+00:00' if zone in (None, 'Z') else zone}")
    except ValueError as error:
        raise InvalidParameter(f'invalid value for "{name}": {text}: {error}') from None
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    passed = moment - epoch
    return (passed.days * 86400 + passed.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
