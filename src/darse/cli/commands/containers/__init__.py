"""Commands on containers: each module has those that work alike, and `COMMANDS`, by which they are found."""
