"""Files of services that are watched: what changes is brought to their containers."""
