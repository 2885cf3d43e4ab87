"""Clients' sessions: connections on which the engine asks and the client answers."""

from darse.buildkit.sessions.pool import ClientSession, SessionPool

__all__ = ["ClientSession", "SessionPool"]
