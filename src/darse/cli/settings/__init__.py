"""The user's settings, which docker's client shares: config.json, contexts, credentials."""
