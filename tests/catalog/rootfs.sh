#!/bin/sh
# Make the files of the image `debian`. Usage: rootfs.sh SUITE DIRECTORY
#
# Like Docker Hub's: no package lists, no documentation, services are not started when they are installed. A package is
# installed by `install_packages NAME...` (a name that other Debian images use, too).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec mmdebstrap --quiet --mode=root --variant=minbase \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"' \
    --customize-hook="cp '$here/install_packages' \"\$1/usr/sbin/install_packages\"" \
    --customize-hook='chmod 755 "$1/usr/sbin/policy-rc.d" "$1/usr/sbin/install_packages"' \
    --customize-hook=': >"$1/etc/resolv.conf"; : >"$1/etc/hostname"; rm -f "$1"/var/cache/apt/*.bin' \
    "$1" "$2"
