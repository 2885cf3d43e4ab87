"""dnspython, as the name server's client and enemy; tests that import this are skipped where it is not installed."""

from __future__ import annotations

import importlib

import pytest

dns = pytest.importorskip("dns", reason="dnspython is not installed")
for _name in ("flags", "message", "name", "query", "rcode", "rdatatype", "reversename", "rrset"):
    importlib.import_module(f"dns.{_name}")
