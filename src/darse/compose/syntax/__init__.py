"""Small texts in compose files: ports, volumes, commands, pairs. A table of cases each."""
