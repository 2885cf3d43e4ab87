"""The user's terminal: raw mode, attached streams, and text that must not control it."""
