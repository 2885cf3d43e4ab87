#!/bin/sh
# As many workers as the container may use processors, when NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE asks for it.
set -eu
[ -n "${NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE:-}" ] || exit 0
sed -i "s/^worker_processes .*/worker_processes $(nproc);/" /etc/nginx/nginx.conf
