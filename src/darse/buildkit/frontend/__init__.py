"""The front end that is built in: `dockerfile.v0`, and `docker/dockerfile:1` and its minor versions.

options      attributes of a request as a build's options
dockerfile   from a request to graphs and configurations, for each platform
questions    `--call check|outline|targets`
"""
