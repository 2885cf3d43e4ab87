"""Why a request to the dashboard gets an error page."""

from __future__ import annotations


class PageError(Exception):
    """An answer with an error status; `key` is that of its text."""

    status = 400
    key = "error.invalid"

    def __init__(self, detail: str = "") -> None:
        """detail: what exactly is wrong, in English, where it is known."""
        super().__init__(detail)
        self.detail = detail


class InvalidForm(PageError):
    """A form's field is not right."""


class LoginRequired(PageError):
    """There is no session."""

    status = 401
    key = "error.login"


class Refused(PageError):
    """The request's origin, its token, or its user's role is not right."""

    status = 403
    key = "error.refused"


class PageNotFound(PageError):
    """There is no such page."""

    status = 404
    key = "error.not_found"


class WrongMethod(PageError):
    """There is such a page, for another method."""

    status = 405
    key = "error.method"


class SlowRequest(PageError):
    """A form does not come to its end."""

    status = 408
    key = "error.slow"


class UploadTooLarge(PageError):
    """More is sent than is taken."""

    status = 413
    key = "error.too_large"


class UnknownHost(PageError):
    """The request is for another site."""

    status = 421
    key = "error.host"


class RateExceeded(PageError):
    """More than the limits allow."""

    status = 429
    key = "error.too_many"
