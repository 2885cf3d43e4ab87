"""darse: a container platform that speaks the Docker Engine API."""

# `docker version` and `/info` show it. cAdvisor refuses engines before 1, and of docker 1.10 and later it reads files
# below the data root that only docker writes.
__version__ = "1.0.0"
