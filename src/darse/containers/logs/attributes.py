"""What a log's lines tell of their container, as the options `labels`, `env`, their patterns and `tag` ask for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from darse.containers.logs.tags import render_tag
from darse.containers.model import Container
from darse.core.expressions import CostlyExpression, Expression, InvalidExpression

log = logging.getLogger(__name__)


def attributes(container: Container, *, tagged: bool = True) -> dict[str, str]:
    """The chosen labels and variables of a container, and its tag where one was asked for."""
    config, options = container.record.config, container.record.host.LogConfig.Config or {}
    variables = dict(_variables(config.Env or ()))
    found = {
        **_chosen(config.Labels or {}, options.get("labels", ""), options.get("labels-regex", "")),
        **_chosen(variables, options.get("env", ""), options.get("env-regex", "")),
    }
    if tagged and (tag := options.get("tag", "")):
        found["tag"] = render_tag(tag, container)
    return found


def _variables(entries: list[str] | tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals:
            yield name, value


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    found = {name: values[name] for name in names.split(",") if name in values}
    if pattern:
        found |= _matching(values, pattern)
    return found


def _matching(values: Mapping[str, str], pattern: str) -> dict[str, str]:
    try:
        expression = Expression(pattern)
        return {name: value for name, value in values.items() if expression.found_in(name)}
    except (CostlyExpression, InvalidExpression) as error:  # long names, or recorded with another syntax
        log.warning("attributes of log lines are left out: %r: %s", pattern, error)
        return {}
