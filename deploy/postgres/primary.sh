#!/bin/sh
# Run once by the image on an empty data directory: roles, database and who may replicate.
set -eu
psql --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set=owner="$IMPACT_OWNER_PASSWORD" --set=app="$IMPACT_APP_PASSWORD" \
    --set=replication="$REPLICATION_PASSWORD" <<'SQL'
-- Passwords stay out of the server's log and statistics.
SET log_min_duration_statement = -1;
SET pg_stat_statements.track_utility = off;
CREATE ROLE impact_owner LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'owner';
CREATE ROLE impact_app LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'app';
CREATE ROLE impact_replicator LOGIN REPLICATION PASSWORD :'replication';
GRANT pg_monitor TO impact_app;
CREATE DATABASE impact OWNER impact_owner;
REVOKE ALL ON DATABASE impact FROM PUBLIC;
GRANT CONNECT, TEMP ON DATABASE impact TO impact_app;
SELECT pg_create_physical_replication_slot('replica');
\connect impact
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE EXTENSION pg_stat_statements;
SQL
echo 'host replication impact_replicator all scram-sha-256' >> "$PGDATA/pg_hba.conf"
