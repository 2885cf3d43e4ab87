"""Builds of clients: from a request, over graphs that are solved when somebody needs them, to what is exported.

lazy_references  results of front ends, which a client names in later calls
client_build  one build: its client's session, what it may use, its references, its events
pool         builds by the names that their clients have chosen
"""
