-- What version 2 left in SQLite.
BEGIN TRANSACTION;
CREATE TABLE modgate_cursors (
  writer TEXT NOT NULL PRIMARY KEY,
  segment INTEGER NOT NULL,
  position INTEGER NOT NULL,
  frames INTEGER NOT NULL,
  last BLOB NOT NULL,           -- the chain behind the last frame that was acknowledged
  at REAL NOT NULL
);
INSERT INTO "modgate_cursors" VALUES('gw.00000001',1,200,2,X'63636363636363636363636363636363',1767225600.0);
CREATE TABLE modgate_usage (
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
  note TEXT NOT NULL,
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
INSERT INTO "modgate_usage" VALUES('req_1','end',0,'gw.00000001',1767225600.0,1767225601.25,'acme','k1','chat','llm','chat','/v1/chat/completions','openai','gold','us','us-1',1,'ok',200,'',0.25,1,'engine','','','0af7651916cd43dd8448eb211c80319c','{"llm.output_tokens":7,"llm.requests":1}','{"llm.output_tokens":100}','[{"call":0,"backend":"eu-1","region":"eu","model":"m","began_s":0.0,"span":"aaaaaaaaaaaaaaaa","sent":false,"state":"failed"},{"call":0,"backend":"us-1","region":"us","model":"m","began_s":0.1,"span":"bbbbbbbbbbbbbbbb","sent":false,"state":"ok"}]',2,'','','','','');
INSERT INTO "modgate_usage" VALUES('req_1','adjust',1,'gw.00000001',1767225660.0,1767225660.0,'acme','','','','','','','','','',0,'',0,'',NULL,1,'','correction','counted twice','','{"llm.output_tokens":-3}','{}','[]',2,'','','','','');
CREATE INDEX modgate_usage_by_tenant ON modgate_usage (tenant, began);
CREATE VIEW modgate_usage_units AS
  SELECT request_id, kind, sequence, tenant, key_id, model, modality, region, backend, ending,
    began, ended, exact, measured_by, each.key AS unit, each.value AS amount
  FROM modgate_usage, json_each(modgate_usage.units) AS each;
COMMIT;
PRAGMA user_version = 2;
