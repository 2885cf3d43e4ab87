"""What every room stands on: errors, events, state, locks, ids, times, filters, configuration.

It imports nothing else of darse.
"""
