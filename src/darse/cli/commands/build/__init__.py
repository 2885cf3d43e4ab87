"""`build` and `builder`: images of Dockerfiles, the build cache, and the builds that were."""
