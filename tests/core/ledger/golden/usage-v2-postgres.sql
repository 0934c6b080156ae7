-- What version 2 left in Postgres.
CREATE TABLE modgate_schema (version integer NOT NULL);
CREATE TABLE modgate_usage (
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
  note text NOT NULL,
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
CREATE INDEX modgate_usage_by_tenant ON modgate_usage (tenant, began);
CREATE VIEW modgate_usage_units AS
  SELECT request_id, kind, sequence, tenant, key_id, model, modality, region, backend, ending,
    began, ended, exact, measured_by, each.key AS unit, each.value::bigint AS amount
  FROM modgate_usage, jsonb_each_text(units) AS each;
CREATE TABLE modgate_cursors (
  writer text NOT NULL PRIMARY KEY,
  segment bigint NOT NULL,
  position bigint NOT NULL,
  frames bigint NOT NULL,
  last bytea NOT NULL,           -- the chain behind the last frame that was acknowledged
  at timestamptz NOT NULL
);
INSERT INTO modgate_schema VALUES (2);
INSERT INTO modgate_usage (request_id, kind, sequence, writer, began, ended, tenant, key_id, model, modality, operation, route, surface, slo, region, backend, stream, ending, status, error, first_byte_s, exact, measured_by, reason, note, trace_id, units, reserved, attempts, v, fallback_for, fallback_on, promise, on_disconnect, would_refuse) VALUES
  ('req_1', 'end', 0, 'gw.00000001', to_timestamp(1767225600.0), to_timestamp(1767225601.25), 'acme', 'k1', 'chat', 'llm', 'chat', '/v1/chat/completions', 'openai', 'gold', 'us', 'us-1', true, 'ok', 200, '', 0.25, true, 'engine', '', '', '0af7651916cd43dd8448eb211c80319c', '{"llm.output_tokens":7,"llm.requests":1}'::jsonb, '{"llm.output_tokens":100}'::jsonb, '[{"call":0,"backend":"eu-1","region":"eu","model":"m","began_s":0.0,"span":"aaaaaaaaaaaaaaaa","sent":false,"state":"failed"},{"call":0,"backend":"us-1","region":"us","model":"m","began_s":0.1,"span":"bbbbbbbbbbbbbbbb","sent":false,"state":"ok"}]'::jsonb, 2, '', '', '', '', '');
INSERT INTO modgate_usage (request_id, kind, sequence, writer, began, ended, tenant, key_id, model, modality, operation, route, surface, slo, region, backend, stream, ending, status, error, first_byte_s, exact, measured_by, reason, note, trace_id, units, reserved, attempts, v, fallback_for, fallback_on, promise, on_disconnect, would_refuse) VALUES
  ('req_1', 'adjust', 1, 'gw.00000001', to_timestamp(1767225660.0), to_timestamp(1767225660.0), 'acme', '', '', '', '', '', '', '', '', '', false, '', 0, '', NULL, true, '', 'correction', 'counted twice', '', '{"llm.output_tokens":-3}'::jsonb, '{}'::jsonb, '[]'::jsonb, 2, '', '', '', '', '');
INSERT INTO modgate_cursors VALUES ('gw.00000001', 1, 200, 2, '\x63636363636363636363636363636363', to_timestamp(1767225600.0));
