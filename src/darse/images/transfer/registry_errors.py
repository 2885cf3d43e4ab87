"""A registry's failures as the engine's errors, in the words that docker's users and their scripts know."""

from __future__ import annotations

from darse.core.errors import EngineError, InvalidParameter, NotFound, SystemFault, Unauthorized
from darse.distribution import errors
from darse.distribution.errors import RegistryError
from darse.images.references import Reference

_ANY = "builtin/busybox needs no registry"
# What docker buildx starts for itself where the engine has no BuildKit.
_WITHOUT = {"moby/buildkit": "`DOCKER_BUILDKIT=0 docker build` and `darse build` build without this image"}


def of_pull(error: RegistryError, reference: Reference) -> EngineError:
    """Why a pull failed; with a mirror's answer, why the registry itself could not be asked.

    When no registry answers, what can be had without one.
    """
    failure = _of_pull(error, reference)
    if isinstance(error, errors.Unreachable):
        return type(failure)(f"{failure}; {_WITHOUT.get(reference.familiar_name, _ANY)}")
    return type(failure)(f"{failure} (asked of a mirror; {error.unasked})") if error.unasked else failure


def _of_pull(error: RegistryError, reference: Reference) -> EngineError:
    if isinstance(error, errors.NotInRegistry):
        if error.code == "NAME_UNKNOWN":
            return NotFound(f"repository {reference.familiar_name} not found: {error.detail}")
        if error.code == "MANIFEST_UNKNOWN" or not error.code:
            detail = error.detail if error.code else "manifest unknown: manifest unknown"
            return NotFound(f"manifest for {reference.familiar} not found: {detail}")
    if isinstance(error, errors.Denied):
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
            f"'docker login': {error.detail or error}"
        )
    if isinstance(error, errors.UnsupportedContent):
        if str(error).startswith("no matching manifest"):
            return NotFound(str(error))
        return InvalidParameter(f"{reference.familiar}: {error}")
    return of_any(error)


def of_push(error: RegistryError) -> EngineError:
    """Why a push failed."""
    if isinstance(error, errors.Denied):
        return SystemFault(str(error))
    return of_any(error)


def of_any(error: RegistryError) -> EngineError:
    """Any other failure. docker's client asks for a password at status 401, so that is a login's only."""
    if isinstance(error, errors.TooManyRequests) and error.code:
        return SystemFault(error.detail)
    return SystemFault(str(error))


def of_login(error: RegistryError) -> EngineError:
    """Why a login failed."""
    return (
        Unauthorized(str(error)) if isinstance(error, (errors.AuthenticationRequired, errors.Denied)) else of_any(error)
    )
