#!/bin/sh
# Run a command with its root in a tree, in mount and process namespaces of its own: nothing of it is left but what it
# wrote. Usage: chroot.sh TREE APT-CACHE DIRECTORY COMMAND...; the environment is the command's.
#
# Mount points that the tree lacks are made, and taken away again. The network is the host's.
set -eu
export ROOT="$1" APT="$2" DIRECTORY="$3"; shift 3
made=
for point in proc dev tmp; do
    [ -d "$ROOT/$point" ] || { mkdir "$ROOT/$point"; made="$made $ROOT/$point"; }
done
status=0
# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child /bin/sh -eu -c '
    PATH=$PATH:/usr/sbin:/sbin
    mount -t proc proc "$ROOT/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
    for device in null zero full random urandom tty; do
        touch "$ROOT/dev/$device"
        mount --bind "/dev/$device" "$ROOT/dev/$device"
    done
    ln -s /proc/self/fd "$ROOT/dev/fd"
    ln -s fd/0 "$ROOT/dev/stdin"; ln -s fd/1 "$ROOT/dev/stdout"; ln -s fd/2 "$ROOT/dev/stderr"
    mkdir -m 1777 "$ROOT/dev/shm"
    if [ -d "$ROOT/var/lib/apt" ]; then
        mount --bind "$APT/lists" "$ROOT/var/lib/apt/lists"
        mount --bind "$APT/archives" "$ROOT/var/cache/apt/archives"
        mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
    fi
    exec unshare --root="$ROOT" --wd="$DIRECTORY" "$@"' sh "$@" || status=$?
for point in $made; do rmdir "$point"; done
exit $status
