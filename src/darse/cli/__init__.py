"""The `darse` command. Talks HTTP only; imports nothing of the engine but its wire types."""
