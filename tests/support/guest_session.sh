#!/bin/sh
# A session of pytest in the guest of `make test-guest`; tests/support/guest.py calls it.
#
#   guest_session.sh REPOSITORY PYTEST-ARGUMENT...
set -u

repository=$1
packages=$repository/build/guest-packages
shift
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
# An emulated processor is some twenty times slower.
export DARSE_TEST_THROWAWAY=1 DARSE_TEST_PATIENCE=5 DARSE_TEST_STALL_MS=2000
export PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
# Debian starts firewalld with its installation; what is tested with it starts it.
if systemctl --quiet is-active firewalld; then systemctl stop firewalld; fi
# The programs of a virtual environment name their interpreter by its path, so the repository is shown at its own.
mkdir -p "$repository"
mount --bind /mnt/share "$repository" || exit 125
cd "$repository" || exit 125
if [ -d "$packages" ]; then export DARSE_TEST_PACKAGES="$packages"; fi
exec .venv/bin/python -m pytest -p no:cacheprovider "$@"
