"""The lab's catalogue: images under Docker Hub's names, built from Debian's packages, for tests that need real ones.

    python -m tests.catalog                 # the small ones, that `make test` uses
    python -m tests.catalog --all
    python -m tests.catalog nginx postgres

Each directory of `images/` is the context of a Dockerfile. They are built here without any engine (`build`): commands
run in a chroot, and what they changed becomes a layer. The results are an OCI layout in a cache outside of the
repository, and the storage of a registry that serves them (`catalogue`). An image is built again when its Dockerfile,
its context or one of its parents changes; removing the cache is always safe.
"""
