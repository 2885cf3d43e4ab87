"""Local sources by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from darse.build.errors import BuildError
from darse.build.executor import BuildSession, KnownContexts
from darse.build.graph.sources import LocalSource


def test_a_directory_and_its_digest_are_found_by_name(tmp_path: Path) -> None:
    contexts = KnownContexts({"context": (tmp_path, "sha256:1")})
    assert contexts.directory("context") == tmp_path
    assert asyncio.run(contexts.digest("context", LocalSource(name="context"))) == "sha256:1"


def test_a_name_that_the_client_has_not_sent_is_refused(tmp_path: Path) -> None:
    contexts = KnownContexts({"context": (tmp_path, "sha256:1")})
    with pytest.raises(BuildError, match="no local source 'other': the client has sent context"):
        contexts.directory("other")


def test_a_session_without_contexts_has_none() -> None:
    session = BuildSession()
    with pytest.raises(BuildError, match="the client has sent none"):
        session.contexts.directory("context")
    with pytest.raises(BuildError, match="the client has sent none"):
        asyncio.run(session.contexts.digest("context", LocalSource(name="context")))
