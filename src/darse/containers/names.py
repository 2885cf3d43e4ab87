"""Names for containers whose creator gave none: an adjective and something found in a harbour."""

from __future__ import annotations

import random
from collections.abc import Callable

_LEFT = ["agile", "amber", "bold", "brave", "breezy", "bright", "brisk", "calm", "clear", "clever", "coastal", "cosy", "daring", "deep", "eager", "early", "easy", "fair", "fleet", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "jolly", "keen", "kind", "lively", "loyal", "lucky", "mellow", "merry", "mighty", "mild", "neat", "nimble", "noble", "patient", "plucky", "polite", "proud", "quick", "quiet", "ready", "robust", "rosy", "salty", "serene", "sharp", "silver", "sleek", "snug", "sober", "solid", "steady", "sturdy", "sunny", "swift", "tidy", "tranquil", "trim", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "zesty"]
_RIGHT = ["albatross", "anchor", "barge", "beacon", "bollard", "bosun", "breaker", "breakwater", "buoy", "cable", "capstan", "caravel", "catamaran", "clipper", "cockle", "compass", "coral", "cormorant", "crane", "current", "cutter", "deck", "derrick", "dinghy", "dock", "dolphin", "drifter", "estuary", "ferry", "fjord", "frigate", "gannet", "gull", "halyard", "harbour", "hawser", "helm", "heron", "island", "jetty", "kayak", "keel", "kelp", "kestrel", "ketch", "lagoon", "lantern", "lighthouse", "lock", "lugger", "mackerel", "marina", "mariner", "mast", "mole", "mooring", "narwhal", "oar", "orca", "osprey", "otter", "packet", "pearl", "pelican", "pier", "pilot", "plover", "porpoise", "puffin", "quay", "reef", "rigger", "rudder", "sail", "sailor", "schooner", "sextant", "shoal", "skiff", "skipper", "sloop", "spinnaker", "starfish", "stevedore", "strait", "tender", "tern", "tide", "tiller", "trawler", "tug", "wake", "walrus", "wharf", "whelk", "winch", "yawl"]


def generate(taken: Callable[[str], bool]) -> str:
    """Return a name that is not `taken`; a number is added once the plain ones run out."""
    for attempt in range(100):
        name = f"{random.choice(_LEFT)}_{random.choice(_RIGHT)}"  # noqa: S311 - a name is no secret
        if attempt > 5:
            name += str(random.randrange(10 ** min(attempt - 5, 9)))  # noqa: S311
        if not taken(name):
            return name
    raise AssertionError("no free name in a hundred tries, with up to nine digits")
