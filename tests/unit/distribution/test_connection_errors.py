"""Failures of connections: which are worth another try."""

from __future__ import annotations

import ssl

import pytest

from darse.distribution.connection_errors import explain


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [
        (ConnectionRefusedError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), True),
        # A registry without TLS stays so: the next of its addresses is tried, and not this one for half a minute.
        (tls_error("WRONG_VERSION_NUMBER"), False),
        (ssl.SSLCertVerificationError(), False),
    ],
)
def test_what_is_the_same_at_every_try_is_not_tried_again(error: OSError, is_worth_it: bool) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_code, error.verify_message = 18, "self-signed certificate"
    assert explain(error, "Get").retryable is is_worth_it
