#!/bin/sh
# A streaming replica: copied from the primary when its data directory is empty, then started.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install --directory --owner postgres --group postgres --mode 700 "$PGDATA"
    export PGPASSWORD="$REPLICATION_PASSWORD"
    # An interrupted copy is thrown away and made anew.
    until gosu postgres pg_basebackup --host primary --username impact_replicator --slot replica \
        --pgdata "$PGDATA" --write-recovery-conf --checkpoint fast; do
        find "$PGDATA" -mindepth 1 -delete
        sleep 2
    done
    unset PGPASSWORD
fi
exec docker-entrypoint.sh "$@"
