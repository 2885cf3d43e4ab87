"""The engine: composition root, configuration, state, events, errors and recovery."""
