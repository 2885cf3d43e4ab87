#!/bin/sh
# A session of pytest in the guest of `make test-guest`; tests/support/guest.py calls it.
#
#   guest_session.sh REPOSITORY PYTEST-ARGUMENT...
#
# A test that needs a boot writes the tests that come after it into $DARSE_TEST_NEXT. The guest boots again then, by
# kexec(8), for its processor's end would be the virtual machine's, and this goes on in the place of the guest's agent:
# it prints to the same ports.
set -u

state=/var/lib/darse-test
ports=/dev/virtio-ports

# What the guest's agent does for its command, done again after a boot.
go_on() {
    tries=0
    while [ ! -e $ports/guest.ctl ] && [ $tries -lt 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    exec 3<>$ports/guest.ctl
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro share /mnt/share
    export DARSE_TEST_BOOTED=1
    tests=$(cat $state/options $state/next)
    rm $state/next
    # shellcheck disable=SC2086 # one word each
    { sh /mnt/share/tests/support/guest_session.sh "$1" $tests 2>&1; echo $? >$state/status; } | cat >$ports/guest.out
    echo "exit $(cat $state/status)" >&3
    sleep 1000
}

boot_again() {
    cp "$repository/tests/support/guest_session.sh" $state/session.sh
    mkdir -p /etc/systemd/system/guest-agent.service.d
    cat >/etc/systemd/system/guest-agent.service.d/again.conf <<END
[Service]
ExecStart=
ExecStart=/bin/sh $state/session.sh --after-a-boot $repository
END
    echo "the guest boots again"
    # Debian's kexec-tools would have its own idea of the kernel; a guest that was resumed has an old hardware clock.
    echo LOAD_KEXEC=false >/etc/default/kexec
    hwclock --systohc --utc
    kexec --load "$kernel/vmlinuz" --initrd="$kernel/initrd" --reuse-cmdline || exit 125
    systemctl kexec || exit 125
    sleep 1000
}

if [ "$1" = --after-a-boot ]; then
    go_on "$2"
    exit 125
fi

repository=$1
kernel=$repository/build/guest-kernel
packages=$repository/build/guest-packages
shift
export PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
# An emulated processor is some twenty times slower.
export DARSE_TEST_THROWAWAY=1 DARSE_TEST_PATIENCE=5 DARSE_TEST_STALL_MS=2000
export PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
# Debian starts firewalld with its installation; what is tested with it starts it.
if [ -d /run/systemd/system ] && systemctl --quiet is-active firewalld; then systemctl stop firewalld; fi
mkdir -p $state "$repository"
# The programs of a virtual environment name their interpreter by its path, so the repository is shown at its own.
mount --bind /mnt/share "$repository" || exit 125
cd "$repository" || exit 125
if [ -d "$packages" ]; then export DARSE_TEST_PACKAGES="$packages"; fi
if [ -d "$kernel" ] && command -v kexec >/dev/null; then export DARSE_TEST_NEXT=$state/next; fi
printf '%s\n' "$@" | grep '^-' >$state/options
.venv/bin/python -m pytest -p no:cacheprovider "$@"
status=$?
if [ $status = 0 ] && [ -s $state/next ]; then boot_again; fi
exit $status
