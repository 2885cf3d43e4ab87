"""What is told about a file that the schema refuses."""

from __future__ import annotations

from typing import Any

import pytest

from darse.compose.errors import ComposeError
from darse.compose.schema.validator import validate


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(ComposeError) as refused:
        validate(document)
    return str(refused.value)


def test_a_key_that_is_not_known_comes_with_the_one_that_is_most_like_it() -> None:
    assert refusal({"services": {"web": {"imagge": "x"}}}).endswith('did you mean "image"?')


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"services": {}, "jobs": {"m": {"image": "x", "triggers": {"manual": True}}}}, "compose run SERVICE"),
        ({"services": {"web": {"pre_start": [{"command": "true"}]}}}, "service_completed_successfully"),
        ({"services": {"web": {"umask": "022"}}}, "in the command"),
        ({"services": {"web": {"build": {"context": ".", "no_cache_filter": ["a"]}}}}, "no_cache: true"),
        ({"services": {"web": {"networks": {"n": {"use_service_name_alias": False}}}}}, "by default"),
    ],
)
def test_what_only_docker_compose_5_reads_is_refused_with_what_does_the_same(document: Any, said: str) -> None:
    text = refusal(document)
    assert "not allowed: docker compose 5 has it" in text
    assert said in text
