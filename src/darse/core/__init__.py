"""What every other part of the engine uses: errors, events, state, locks, ids, times, filters, configuration.

It imports nothing else of darse.
"""
