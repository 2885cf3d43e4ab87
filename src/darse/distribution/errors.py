"""Every failure of a registry, told apart by what the caller can do about it.

    RegistryError
    ├── Unreachable              no answer: name, connection, TLS, time           worth another try, or another host
    ├── AuthenticationRequired   credentials are required, or others (401)
    ├── Denied                   the registry refuses, whoever asks (403)
    ├── NotInRegistry            no such repository, manifest or blob (404)
    ├── TooManyRequests          come back later (429)                            worth another try, after `retry_after`
    ├── Faulty                   the registry failed (5xx), or broke off          worth another try
    ├── RequestRefused           any other refusal (4xx)
    ├── InvalidContent            the answer is not what was promised: digest, size, type, form
    ├── UnsupportedContent       understood, and nothing that can be used: schema 1, an artifact, another platform
    └── Cancelled                the caller gave up

`str()` is the text for people, in docker's words where scripts match them.
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base of all failures of this package."""

    retryable = False
    # Seconds that the registry asked to wait for.
    retry_after: float | None = None
    # The registry's own code, such as MANIFEST_UNKNOWN; "" when it gave none.
    code = ""
    # The registry's `code: message`, without what was asked for.
    detail = ""
    # Why an endpoint that comes after the one that answered, and may know better, could not be asked.
    unasked = ""


class Unreachable(RegistryError):
    """The registry does not answer."""

    retryable = True


class AuthenticationRequired(RegistryError):
    """Credentials are missing or wrong."""


class Denied(RegistryError):
    """The registry refuses."""


class NotInRegistry(RegistryError):
    """The registry has no such thing."""


class TooManyRequests(RegistryError):
    """The registry wants to be left alone for a while."""

    retryable = True


class Faulty(RegistryError):
    """The registry failed in the middle of things."""

    retryable = True


class RequestRefused(RegistryError):
    """The registry does not take the request."""


class InvalidContent(RegistryError):
    """The registry's answer is not what it claims to be."""


class UnsupportedContent(RegistryError):
    """The registry has something else than an image for this machine."""


class Cancelled(RegistryError):
    """The caller gave up."""
