-- Version 2 of the tables in SQLite.  A new version only adds columns that have defaults, and views.
CREATE TABLE IF NOT EXISTS modgate_usage (
  request_id TEXT NOT NULL,
  kind TEXT NOT NULL,           -- end, adjust
  sequence INTEGER NOT NULL,    -- 0; of an adjustment 1, 2, ...
  writer TEXT NOT NULL,
  began REAL NOT NULL,          -- seconds since the epoch
  ended REAL NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  modality TEXT NOT NULL,
  operation TEXT NOT NULL,
  route TEXT NOT NULL,
  surface TEXT NOT NULL,
  slo TEXT NOT NULL,
  region TEXT NOT NULL,         -- with backend: of the attempt that answered, else of the last
  backend TEXT NOT NULL,
  stream INTEGER NOT NULL,
  ending TEXT NOT NULL,
  status INTEGER NOT NULL,
  error TEXT NOT NULL,
  first_byte_s REAL,
  exact INTEGER NOT NULL,       -- 0: a floor or an estimate
  measured_by TEXT NOT NULL,    -- engine, gateway, estimate
  reason TEXT NOT NULL,         -- of an adjustment
  note TEXT NOT NULL,           -- of a bill: the regions that it is kept to
  trace_id TEXT NOT NULL,
  units TEXT NOT NULL,          -- JSON, full name: whole number
  reserved TEXT NOT NULL,
  attempts TEXT NOT NULL,
  v INTEGER NOT NULL,
  fallback_for TEXT NOT NULL DEFAULT '', -- the model that was asked for, where another one served it
  fallback_on TEXT NOT NULL DEFAULT '',  -- why: unmet, failed, unavailable
  promise TEXT NOT NULL DEFAULT '',      -- best-effort: no engine could keep its class
  on_disconnect TEXT NOT NULL DEFAULT '', -- drained, cut
  would_refuse TEXT NOT NULL DEFAULT '',  -- limits in shadow that would have refused it
  PRIMARY KEY (request_id, kind, sequence)
);
CREATE INDEX IF NOT EXISTS modgate_usage_by_tenant ON modgate_usage (tenant, began);
CREATE VIEW IF NOT EXISTS modgate_usage_units AS
  SELECT request_id, kind, sequence, tenant, key_id, model, modality, region, backend, ending,
    began, ended, exact, measured_by, each.key AS unit, each.value AS amount
  FROM modgate_usage, json_each(modgate_usage.units) AS each;
CREATE TABLE IF NOT EXISTS modgate_cursors (
  writer TEXT NOT NULL PRIMARY KEY,
  segment INTEGER NOT NULL,
  position INTEGER NOT NULL,
  frames INTEGER NOT NULL,
  last BLOB NOT NULL,           -- the chain behind the last frame that was acknowledged
  at REAL NOT NULL
);
