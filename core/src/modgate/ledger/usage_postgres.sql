-- Version 2 of the tables in Postgres.  A new version only adds columns that have defaults, and views.
CREATE TABLE IF NOT EXISTS modgate_schema (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS modgate_usage (
  request_id text NOT NULL,
  kind text NOT NULL,           -- end, adjust
  sequence bigint NOT NULL,    -- 0; of an adjustment 1, 2, ...
  writer text NOT NULL,
  began timestamptz NOT NULL,
  ended timestamptz NOT NULL,
  tenant text NOT NULL,
  key_id text NOT NULL,
  model text NOT NULL,
  modality text NOT NULL,
  operation text NOT NULL,
  route text NOT NULL,
  surface text NOT NULL,
  slo text NOT NULL,
  region text NOT NULL,         -- with backend: of the attempt that answered, else of the last
  backend text NOT NULL,
  stream boolean NOT NULL,
  ending text NOT NULL,
  status bigint NOT NULL,
  error text NOT NULL,
  first_byte_s double precision,
  exact boolean NOT NULL,       -- false: a floor or an estimate
  measured_by text NOT NULL,    -- engine, gateway, estimate
  reason text NOT NULL,         -- of an adjustment
  note text NOT NULL,           -- of a bill: the regions that it is kept to
  trace_id text NOT NULL,
  units jsonb NOT NULL,          -- full name: whole number
  reserved jsonb NOT NULL,
  attempts jsonb NOT NULL,
  v bigint NOT NULL,
  fallback_for text NOT NULL DEFAULT '', -- the model that was asked for, where another one served it
  fallback_on text NOT NULL DEFAULT '',  -- why: unmet, failed, unavailable
  promise text NOT NULL DEFAULT '',      -- best-effort: no engine could keep its class
  on_disconnect text NOT NULL DEFAULT '', -- drained, cut
  would_refuse text NOT NULL DEFAULT '',  -- limits in shadow that would have refused it
  PRIMARY KEY (request_id, kind, sequence)
);
CREATE INDEX IF NOT EXISTS modgate_usage_by_tenant ON modgate_usage (tenant, began);
CREATE OR REPLACE VIEW modgate_usage_units AS
  SELECT request_id, kind, sequence, tenant, key_id, model, modality, region, backend, ending,
    began, ended, exact, measured_by, each.key AS unit, each.value::bigint AS amount
  FROM modgate_usage, jsonb_each_text(units) AS each;
CREATE TABLE IF NOT EXISTS modgate_cursors (
  writer text NOT NULL PRIMARY KEY,
  segment bigint NOT NULL,
  position bigint NOT NULL,
  frames bigint NOT NULL,
  last bytea NOT NULL,           -- the chain behind the last frame that was acknowledged
  at timestamptz NOT NULL
);
