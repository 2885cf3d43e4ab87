"""Control groups: hierarchies, changes of limits, counters."""
