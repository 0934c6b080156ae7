BEGIN TRANSACTION;
CREATE TABLE changes (
        epoch INTEGER PRIMARY KEY, wall REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, detail TEXT NOT NULL
    );
INSERT INTO "changes" VALUES(1,1.0,'ann','tenant.set','acme','{"models":["chat"],"slo":"gold"}');
INSERT INTO "changes" VALUES(2,5.0,'bob','key.new','abcdefghijkl','acme ci');
INSERT INTO "changes" VALUES(3,100.0,'ann','key.rotate','abcdefghijkl','the secret before is good for 60 s');
CREATE TABLE keys (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, env TEXT NOT NULL,
        last4 TEXT NOT NULL, grant_json TEXT NOT NULL,
        created REAL NOT NULL, digest TEXT NOT NULL, old_digest TEXT NOT NULL DEFAULT '',
        old_until REAL NOT NULL DEFAULT 0, revoked REAL NOT NULL DEFAULT 0
    );
INSERT INTO "keys" VALUES('abcdefghijkl','acme','ci','live','1234','{"models":["chat"]}',5.0,'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',160.0,0.0);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO "meta" VALUES('epoch',3);
CREATE TABLE migrations (version INTEGER PRIMARY KEY);
INSERT INTO "migrations" VALUES(1);
CREATE TABLE tenants (
        name TEXT PRIMARY KEY, grant_json TEXT NOT NULL,
        created REAL NOT NULL, changed REAL NOT NULL
    );
INSERT INTO "tenants" VALUES('acme','{"models":["chat"],"slo":"gold"}',1.0,1.0);
CREATE INDEX keys_by_tenant ON keys (tenant);
COMMIT;
