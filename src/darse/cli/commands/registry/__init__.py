"""Commands that ask registries."""
