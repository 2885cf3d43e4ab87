"""Every text, in each language."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import darse.web
from darse.web.accounts import Role
from darse.web.errors import PageError
from darse.web.texts import LANGUAGES, Texts, preferred

WEB = Path(darse.web.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
_KEY = re.compile(r'"((?:[a-z_]+)(?:\.[a-z_0-9]+)+)"')


def test_each_language_has_the_same_keys() -> None:
    assert set(LANGUAGES["en"]) == set(LANGUAGES["fr"])
    assert all(text.strip() for texts in LANGUAGES.values() for text in texts.values())


def test_each_language_has_the_same_places_for_values() -> None:
    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, french = LANGUAGES["en"], LANGUAGES["fr"]
    assert {key: places(text) for key, text in english.items()} == {key: places(text) for key, text in french.items()}


def keys_in_use() -> set[str]:
    found = {error.key for error in [PageError, *PageError.__subclasses__()]}
    found |= {f"role.{role.word}" for role in Role} | {f"changes.kind.{kind}" for kind in range(3)}
    found |= {f"action.{action}" for action in ("start", "stop", "restart")}
    for path in TEMPLATES:
        text = path.read_text()
        found |= set(re.findall(r'\bt\("([^"]+)"[,)]', text))
        found |= {key for key in _KEY.findall(text) if key in LANGUAGES["en"] or key.partition(".")[0] in _rooms()}
    for path in WEB.rglob("*.py"):
        if path.parent.name != "texts":
            found |= {key for key in _KEY.findall(path.read_text()) if key.partition(".")[0] in _rooms()}
    return {key for key in found if not key.endswith((".html", ".js", ".svg"))}


def _rooms() -> set[str]:
    return {key.partition(".")[0] for key in LANGUAGES["en"] if "." in key}


def test_every_key_in_use_has_a_text_and_every_text_is_in_use() -> None:
    used = keys_in_use() | {"language", "decimal", "units"}
    assert used - set(LANGUAGES["en"]) == set()
    assert set(LANGUAGES["en"]) - used == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("de, *;q=0.5", "en"),
        ("fr;q=0", "en"),
        ("fr;q=x", "en"),
        (",;,", "en"),
    ],
)
def test_the_browser_says_which_language(header: str, language: str) -> None:
    assert preferred(header) == language


def test_sizes_are_written_as_the_language_does() -> None:
    assert [Texts("en").size(count) for count in (0, 999, 1500, 2_340_000, 10**16)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.3 MB",
        "10.0 PB",
    ]
    assert Texts("fr").size(1500) == "1,5 ko"


def test_pages_have_no_script_and_no_style_inside() -> None:
    """The content security policy refuses them."""
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), path.name
        assert "|safe" not in text, path.name
