#!/bin/sh
# Run what stands in /docker-entrypoint.d, in order, then the command.
set -e
if [ "$1" = nginx ]; then
    for file in /docker-entrypoint.d/*; do
        case $file in
            *.envsh) echo "$0: Sourcing $file"; . "$file" ;;
            *.sh) echo "$0: Launching $file"; "$file" ;;
            *) echo "$0: Ignoring $file" ;;
        esac
    done
    echo "$0: Configuration complete; ready for start up"
fi
exec "$@"
