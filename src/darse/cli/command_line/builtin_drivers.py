"""The engine's own network drivers, for where no engine can be asked: completion, and the help of filters.

The command imports nothing of the engine; a unit test compares these with the engine's drivers.
"""

from __future__ import annotations

from typing import Final

NETWORK: Final = ("bridge", "host", "ipvlan", "macvlan", "null")
