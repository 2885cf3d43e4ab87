"""What is done on an engine, by its client: plans are carried out, services started, stopped, followed and removed.

Every operation takes a `ProjectSession`: the engine, the project, and where progress is reported.
"""
