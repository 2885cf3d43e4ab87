"""Who is logged in: sessions in memory, each with a random number of its own that only its cookie has.

A session begins with a login and gets a new number then, whatever cookie came with the request: a number that somebody
else has put into a browser is worth nothing (session fixation). It ends with a logout, after hours without a request,
after a day in any case, and with the process. What is kept here is a hash of the number.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping

from darse.web.accounts import Account, Role

_IDLE_SECONDS = 8 * 3600
_LONGEST_SECONDS = 24 * 3600
_TOKEN_SECONDS = 15 * 60
_MOST_SESSIONS = 200
_MOST_STREAMS = 24


class WebSession:
    """A user who is logged in."""

    def __init__(self, user: str, role: Role, now: float, account: Account | None = None) -> None:
        """now: the clock of `Sessions`, in seconds. account: of whom the file knows."""
        self.account = account
        self.user = user
        self.role = role
        self.begun = now
        self.used = now
        self.csrf = secrets.token_urlsafe(24)
        # What the next page says of the request before it: whether it went well, and the text.
        self.messages: list[tuple[bool, str]] = []
        self._streams: set[asyncio.Task[object]] = set()

    def has_token(self, token: str) -> bool:
        """Whether a form is one of this session's."""
        return hmac.compare_digest(self.csrf.encode(), token.encode(errors="replace"))

    def holds_stream(self) -> bool:
        """Let the current task run for as long as the session lasts; False when there are too many already."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._streams) >= _MOST_STREAMS:
            return False
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        return True

    def release_stream(self) -> None:
        """The current task has no stream any more."""
        task = asyncio.current_task()
        assert task is not None
        self._streams.discard(task)

    def end(self) -> None:
        """End its streams."""
        for task in list(self._streams):
            task.cancel()


class Sessions:
    """All sessions, and the tokens that are good for one login."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[bytes, WebSession] = {}
        self._tokens: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def new_token(self) -> str:
        """A token for one login in the role administrate, within a quarter of an hour."""
        token = secrets.token_urlsafe(32)
        self._tokens[_hash(token)] = self._clock() + _TOKEN_SECONDS
        return token

    def take_token(self, token: str) -> bool:
        """Whether a token is good; it is not from then on."""
        end = self._tokens.pop(_hash(token), None)
        return end is not None and self._clock() < end

    def begin(self, user: str, role: Role, account: Account | None = None) -> tuple[str, WebSession]:
        """Begin a session; the text is for its cookie."""
        self.drop_ended()
        while len(self._sessions) >= _MOST_SESSIONS:
            oldest = min(self._sessions, key=lambda one: self._sessions[one].used)
            self._sessions.pop(oldest).end()
        number = secrets.token_urlsafe(32)
        session = self._sessions[_hash(number)] = WebSession(user, role, self._clock(), account)
        return number, session

    def find(self, number: str) -> WebSession | None:
        """The session of a cookie; it is in use then."""
        session = self._sessions.get(_hash(number))
        if session is None:
            return None
        if self._has_ended(session):
            self.end(number)
            return None
        session.used = self._clock()
        return session

    def end(self, number: str) -> None:
        """End a session, and its streams."""
        session = self._sessions.pop(_hash(number), None)
        if session is not None:
            session.end()

    def end_all(self) -> None:
        """End every session."""
        for session in self._sessions.values():
            session.end()
        self._sessions.clear()

    def drop_ended(self) -> None:
        """End the sessions whose time is over: their streams do not ask."""
        for number, session in list(self._sessions.items()):
            if self._has_ended(session):
                del self._sessions[number]
                session.end()
        now = self._clock()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}

    def accounts(self) -> set[str]:
        """The names of the file that are logged in."""
        return {session.account.name for session in self._sessions.values() if session.account is not None}

    def drop_accounts(self, accounts: Mapping[str, Account]) -> None:
        """End the sessions of accounts that are not among these, as they were at the login."""
        for number, session in list(self._sessions.items()):
            if session.account is not None and accounts.get(session.account.name) != session.account:
                del self._sessions[number]
                session.end()

    def _has_ended(self, session: WebSession) -> bool:
        now = self._clock()
        return now - session.used > _IDLE_SECONDS or now - session.begun > _LONGEST_SECONDS


def _hash(number: str) -> bytes:
    return hashlib.sha256(number.encode(errors="replace")).digest()
