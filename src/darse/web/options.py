"""Where the dashboard listens, and for whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from darse.client import EngineEndpoint


@dataclass(frozen=True)
class WebOptions:
    """What `darse web` has been called with.

    address, port: where it listens; port 0 is any that is free. names: further host names by which browsers come.
    certificate, key: PEM files; with them it speaks TLS only. users: the file of `darse web user`.
    audit_log: the file of records of what was changed.
    """

    endpoint: EngineEndpoint
    audit_log: Path
    address: str = "127.0.0.1"
    port: int = 9480
    names: tuple[str, ...] = field(default=())
    certificate: Path | None = None
    key: Path | None = None
    users: Path | None = None
