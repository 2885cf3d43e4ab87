"""`POST /build`: its parameters, what is sent with it, and the forms of its progress. Imported for the first build.

options    the parameters
parts      several contexts and secrets in one body
stream     from a build's events to messages
classic    docker's messages
status     BuildKit's status documents
"""
