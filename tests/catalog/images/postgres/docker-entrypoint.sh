#!/bin/bash
# At the first start make a cluster, the user POSTGRES_USER with POSTGRES_PASSWORD, and the database POSTGRES_DB; run
# what stands in /docker-entrypoint-initdb.d; then run the server, which never is root.
set -euo pipefail
case ${1:-} in -*) set -- postgres "$@" ;; esac
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        echo "       POSTGRES_PASSWORD has to be set, or POSTGRES_HOST_AUTH_METHOD=trust." >&2
        exit 1
    fi
    initdb --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") ${POSTGRES_INITDB_ARGS:-}
    echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    export PGPASSWORD=${POSTGRES_PASSWORD:-}
    if [ "$database" != postgres ]; then
        psql --no-psqlrc -v ON_ERROR_STOP=1 -U "$user" -d postgres -v name="$database" <<<'CREATE DATABASE :"name";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) echo "$0: running $file"; "$file" ;;
            *.sql) echo "$0: running $file"; psql --no-psqlrc -v ON_ERROR_STOP=1 -U "$user" -d "$database" -f "$file" ;;
        esac
    done
    unset PGPASSWORD
    pg_ctl -D "$PGDATA" -m fast -w stop
    echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@" -c "listen_addresses=*"
