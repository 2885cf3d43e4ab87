"""Replace the variables in every text of a document, and read numbers and booleans where the attribute is one.

A variable's value is a text, so `replicas: ${N}` has to be made a number: `_CASTS` lists where. It is the only place
where `yes` and `on` are booleans.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from darse.compose.errors import ComposeError, shown_path
from darse.compose.interpolation.template import InvalidTemplate, Lookup, MissingVariable, substitute
from darse.compose.paths import PathTable
from darse.quoting import quote

_INTEGER = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_TRUE = frozenset({"true", "y", "yes", "on"})
_FALSE = frozenset({"false", "n", "no", "off"})


class Interpolation:
    """Where variables come from, and what was to be warned of: each text once."""

    def __init__(self, lookup: Lookup, warn: Callable[[str], None]) -> None:
        self._lookup = lookup
        self._warn = warn

    def apply(self, value: Any) -> Any:
        """A document with its variables replaced. Raises ComposeError with the path of the text."""
        return self._apply(value, (), CASTS)

    def _apply(self, value: Any, path: tuple[str | int, ...], table: PathTable[_Cast] | None) -> Any:
        if isinstance(value, str):
            return self._text(value, path, table.value if table else None)
        if isinstance(value, dict):
            return {
                key: self._apply(one, (*path, key), table.step(key) if table else None) for key, one in value.items()
            }
        if isinstance(value, list):
            below = table.step(0) if table else None
            return [self._apply(one, (*path, number), below) for number, one in enumerate(value)]
        return value

    def _text(self, text: str, path: tuple[str | int, ...], cast: _Cast | None) -> Any:
        where = shown_path([part if isinstance(part, str) else "[]" for part in path])
        try:
            replaced = substitute(text, self._lookup, self._unset)
        except InvalidTemplate as error:
            raise ComposeError(
                f"invalid interpolation format for {where}.\nYou may need to escape any $ with another $.\n{text}", path
            ) from error
        except MissingVariable as error:
            raise ComposeError(f"error while interpolating {where}: {error}", path) from error
        if cast is None:
            return replaced
        try:
            return cast(replaced, self._warn)
        except ValueError as error:
            raise ComposeError(
                f"error while interpolating {where}: failed to cast to expected type: {error}", path
            ) from error

    def _unset(self, name: str) -> None:
        self._warn(f'The "{name}" variable is not set. Defaulting to a blank string.')


_Cast = Callable[[str, Callable[[str], None]], Any]


def _integer(text: str, _warn: Callable[[str], None]) -> int:
    if not _INTEGER.match(text):
        raise ValueError(f"{quote(text)} is not a whole number")
    return int(text)


def _number(text: str, _warn: Callable[[str], None]) -> float:
    try:
        return float(text.replace("_", "~"))
    except ValueError:
        raise ValueError(f"{quote(text)} is not a number") from None


def _boolean(text: str, warn: Callable[[str], None]) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(f"invalid boolean: {text}")
    value = lowered in _TRUE
    if lowered not in ("true", "false"):
        shown = "true" if value else "false"
        warn(f"{quote(text)} for boolean is not supported by YAML 1.2, please use `{shown}`")
    return value


_SERVICES: dict[_Cast, str] = {
    _integer: "cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares deploy.replicas "
    "deploy.update_config.parallelism deploy.rollback_config.parallelism deploy.restart_policy.max_attempts "
    "deploy.placement.max_replicas_per_node healthcheck.retries oom_score_adj pids_limit ports.*.target scale "
    "ulimits.* ulimits.*.hard ulimits.*.soft",
    _number: "cpu_percent cpus deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio",
    _boolean: "init healthcheck.disable oom_kill_disable privileged read_only stdin_open tty volumes.*.read_only "
    "volumes.*.volume.nocopy",
}
_TOP: dict[_Cast, str] = {
    _boolean: "networks.*.external networks.*.internal networks.*.attachable networks.*.enable_ipv4 "
    "networks.*.enable_ipv6 volumes.*.external secrets.*.external configs.*.external",
}
CASTS: PathTable[_Cast] = PathTable(
    {f"services.*.{path}": cast for cast, paths in _SERVICES.items() for path in paths.split()}
    | {path: cast for cast, paths in _TOP.items() for path in paths.split()}
)
