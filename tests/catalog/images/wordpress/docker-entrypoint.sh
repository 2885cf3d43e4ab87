#!/bin/sh
# Put WordPress into the volume at the first start, with settings that are read from the environment at each request.
set -eu
if [ "$1" = apache2-foreground ] && [ ! -e index.php ]; then
    cp -aL /usr/share/wordpress/. .
    cp /usr/local/share/wordpress/wp-config.php .
    chown -R www-data:www-data .
    echo "WordPress has been copied to $PWD" >&2
fi
exec "$@"
