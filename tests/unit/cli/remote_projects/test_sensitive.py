"""What is taken for a secret in files that are to be published, and what is not."""

from __future__ import annotations

import pytest

from darse.cli.remote_projects.sensitive import findings

_LONG = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("A: AKIA" + "ABCDEFGHIJ123456", "AWS access key"),
        (f"A: ghp_{_LONG}", "GitHub token"),
        (f"A: github_pat_{_LONG}", "GitHub token"),
        (f"A: glpat-{_LONG[:20]}", "GitLab token"),
        (f"A: AIza{_LONG[:35]}", "Google API key"),
        (f"//registry/:_authToken=npm_{_LONG}", "npm token"),
        ("A: xoxb-" + "1234567890-abc", "Slack token"),
        ("A: sk_" + f"live_{_LONG[:24]}", "Stripe key"),
        ("A: SG" + f".{_LONG[:22]}.{_LONG}", "SendGrid key"),
        ("A: SK" + "0123456789abcdef" * 2, "Twilio key"),
        (f"A: dckr_pat_{_LONG[:27]}", "Docker Hub token"),
        ("A: eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.c2lnbmF0dXJlIQ", "JSON web token"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "private key"),
        ("-----BEGIN " + "PRIVATE KEY-----", "private key"),
        ("URL: postgres://me:hunter22@db/shop", "password in a URL"),
        ("DB_PASSWORD: hunter22", "value of a sensitive name"),
        ("- API_KEY=abcdef", "value of a sensitive name"),
        ('"client_secret": "abcdef"', "value of a sensitive name"),
    ],
)
def test_what_looks_like_a_secret(line: str, kind: str) -> None:
    (found,) = findings("compose.yaml", f"services:\n  {line}\n")
    assert (found.kind, found.file, found.line) == (kind, "compose.yaml", 2)
    assert found.beginning.endswith("…")
    assert "hunter22" not in found.beginning


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD: ${DB_PASSWORD}",
        "DB_PASSWORD: $DB_PASSWORD",
        "DB_PASSWORD:",
        "- DB_PASSWORD",
        "POSTGRES_PASSWORD_FILE: /run/secrets/db",
        "URL: postgres://me:${PASSWORD}@db/shop",
        "URL: https://example.com:8443/path@2",
        "secrets: [token]",
        "token: {environment: TOKEN}",
        "token: # a comment",
        "# DB_PASSWORD: hunter22",
        "image: busybox@sha256:" + "0" * 64,
        "TOKEN_TTL: 3600",
        "read_only_token: true",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_does_not(line: str) -> None:
    assert list(findings("compose.yaml", line)) == []
