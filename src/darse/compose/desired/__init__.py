"""What a project asks of an engine, as the requests of its API: names, labels, containers, networks, volumes.

Pure: nothing here talks to an engine. Names, labels and hashes are docker compose's, so that both tools manage one
project.
"""
