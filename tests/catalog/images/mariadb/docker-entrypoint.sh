#!/bin/bash
# At the first start make the system's tables, root's password, the database MYSQL_DATABASE and its user, and run what
# stands in /docker-entrypoint-initdb.d; then run the server, which never is root. MARIADB_… goes before MYSQL_….
set -euo pipefail
case ${1:-} in -*) set -- mariadbd "$@" ;; mysqld) shift; set -- mariadbd "$@" ;; esac
[ "$1" = mariadbd ] || exec "$@"
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
    chown mysql:mysql "$data" /run/mysqld
    exec setpriv --reuid mysql --regid mysql --init-groups "$0" "$@"
fi
setting() {
    local maria="MARIADB_$1" mysql="MYSQL_$1"
    printf '%s' "${!maria-${!mysql-}}"
}
quoted() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}
if [ ! -d "$data/mysql" ]; then
    root=$(setting ROOT_PASSWORD) user=$(setting USER) password=$(setting PASSWORD) database=$(setting DATABASE)
    if [ -z "$root$(setting ALLOW_EMPTY_PASSWORD)$(setting ALLOW_EMPTY_ROOT_PASSWORD)$(setting RANDOM_ROOT_PASSWORD)" ]; then
        echo "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified" >&2
        echo "        You need to specify one of MARIADB_ROOT_PASSWORD, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD" >&2
        exit 1
    fi
    if [ -z "$root" ] && [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        root=$(head -c 24 /dev/urandom | base64)
        echo "[Note] [Entrypoint]: GENERATED ROOT PASSWORD: $root"
    fi
    mariadb-install-db --auth-root-authentication-method=normal --skip-test-db >/dev/null
    mariadbd --skip-networking --socket=/run/mysqld/mysqld.sock &
    server=$!
    for _ in $(seq 300); do
        mariadb -u root -e 'SELECT 1' >/dev/null 2>&1 && break
        sleep 0.1
    done
    {
        echo "DELETE FROM mysql.global_priv WHERE user = '' OR (user = 'root' AND host <> 'localhost');"
        echo "FLUSH PRIVILEGES;"
        [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
        if [ -n "$user" ]; then
            echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
            [ -z "$database" ] || echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quoted "$user")@'%';"
        fi
        echo "CREATE USER root@'%' IDENTIFIED BY $(quoted "$root"); GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    } | mariadb -u root
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) echo "[Note] [Entrypoint]: running $file"; "$file" ;;
            *.sql) echo "[Note] [Entrypoint]: running $file"; mariadb -u root ${database:+"$database"} <"$file" ;;
        esac
    done
    echo "ALTER USER root@localhost IDENTIFIED BY $(quoted "$root");" | mariadb -u root
    kill "$server"
    wait "$server"
    echo "[Note] [Entrypoint]: MariaDB init process done. Ready for start up."
fi
exec "$@"
