"""Conversions of Dockerfiles that were made before: the same text, options and bases come to the same graph.

Most builds are of a Dockerfile that is as it was. Its bases are looked for each time, so that one that has moved is
seen; what is here is used where they are what they were.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import msgspec

from darse.build.conversion_thread import in_thread, is_short
from darse.build.dockerfile.convert import Converted, ConvertOptions, ImageResolver, ResolvedImage, convert
from darse.build.errors import BuildError

#: Conversions that are kept, the newest; each is of a short Dockerfile.
MOST = 32


class _Conversion(msgspec.Struct, frozen=True):
    source: str
    options: ConvertOptions
    resolved: dict[tuple[str, str], ResolvedImage]
    converted: Converted


class _Recorder:
    """Notes what was resolved."""

    def __init__(self, resolver: ImageResolver) -> None:
        self._resolver = resolver
        self.resolved: dict[tuple[str, str], ResolvedImage] = {}

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """See ImageResolver."""
        found = self.resolved[reference, platform] = await self._resolver.resolve(reference, platform)
        return found


class KnownConversions:
    """Converts Dockerfiles, each once."""

    def __init__(self) -> None:
        self._known: deque[_Conversion] = deque(maxlen=MOST)

    async def convert(self, source: str, options: ConvertOptions, resolver: ImageResolver) -> Converted:
        """As `darse.build.dockerfile.convert.convert`; a long Dockerfile is converted in a thread."""
        if not is_short(source):
            return await in_thread(partial(convert, source, options), resolver)
        for known in list(self._known):
            if known.source == source and known.options == options and await _are_as_before(known.resolved, resolver):
                return known.converted
        recorder = _Recorder(resolver)
        converted = await convert(source, options, recorder)
        self._known.append(_Conversion(source, options, recorder.resolved, converted))
        return converted


async def _are_as_before(images: dict[tuple[str, str], ResolvedImage], resolver: ImageResolver) -> bool:
    for (reference, platform), before in images.items():
        try:
            if await resolver.resolve(reference, platform) != before:
                return False
        except BuildError:
            return False  # the conversion says where it is asked for
    return True
