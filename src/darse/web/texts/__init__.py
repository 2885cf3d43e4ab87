"""Every text of the dashboard, in each language: a catalogue a module, with the same keys in all of them."""

from __future__ import annotations

from collections.abc import Mapping

from darse.web.texts.english import ENGLISH
from darse.web.texts.french import FRENCH

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "fr": FRENCH}
_STEP = 1000


class Texts:
    """The texts of one language."""

    def __init__(self, language: str) -> None:
        """language: a key of LANGUAGES."""
        self.language = language
        self._texts = LANGUAGES[language]

    def text(self, key: str, **values: object) -> str:
        """A text, with values in its places. Raises KeyError when there is none."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def number(self, value: float, digits: int = 0) -> str:
        """A number with the language's decimal separator."""
        return f"{value:.{digits}f}".replace(".", self._texts["decimal"])

    def size(self, count: int) -> str:
        """A number of bytes in units of a thousand."""
        value = float(count)
        units = self._texts["units"].split()
        for unit in units:
            if abs(value) < _STEP or unit == units[-1]:
                return f"{self.number(value, 0 if unit == units[0] else 1)} {unit}"
            value /= _STEP
        raise AssertionError


def preferred(header: str) -> str:
    """The language that a browser prefers (Accept-Language, RFC 9110 12.5.4), English where it names none of ours."""
    weighted = []
    for place, item in enumerate(header.split(",")[:20]):
        tag, _, parameter = item.partition(";")
        language = tag.strip().lower().partition("-")[0]
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and weight > 0:
            weighted.append((-weight, place, language))
    return min(weighted)[2] if weighted else "en"
