"""Failures of a connection, in the words that docker's users know and their scripts match."""

from __future__ import annotations

import http.client
import socket
import ssl

from darse.distribution.errors import Faulty, InvalidContent, RegistryError, Unreachable


def explain(error: BaseException, doing: str) -> RegistryError:
    """An error of the connection in the words that docker's users know. Some are the same at every other try."""
    is_lasting = isinstance(error, ssl.SSLCertVerificationError)
    if isinstance(error, TimeoutError):
        text = "net/http: request canceled while waiting for the registry (Client.Timeout exceeded)"
    elif isinstance(error, socket.gaierror):
        text = f"dial tcp: lookup failed: no such host ({error.strerror})"
    elif isinstance(error, ssl.SSLCertVerificationError):
        text = f"tls: failed to verify certificate: x509: {_x509(error)}"
    elif isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"):
            text, is_lasting = "http: server gave HTTP response to HTTPS client", True
        else:
            text = f"remote error: tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
    elif isinstance(error, ConnectionRefusedError):
        text = "dial tcp: connect: connection refused"
    elif isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return Faulty(f"{doing}: unexpected EOF")
    elif isinstance(error, (ConnectionError, BrokenPipeError)):
        return Faulty(f"{doing}: connection reset by peer")
    elif isinstance(error, OSError):
        text = f"dial tcp: {(error.strerror or str(error)).lower()}"
    else:
        return InvalidContent(f"{doing}: malformed HTTP response: {str(error)[:200] or type(error).__name__}")
    explained = Unreachable(f"{doing}: {text}")
    explained.retryable = not is_lasting
    return explained


def _x509(error: ssl.SSLCertVerificationError) -> str:
    message = error.verify_message
    if error.verify_code in (18, 19, 20, 21):  # no way to a certificate that is trusted
        return f"certificate signed by unknown authority ({message})"
    if error.verify_code == 10:
        return "certificate has expired or is not yet valid"
    return message
