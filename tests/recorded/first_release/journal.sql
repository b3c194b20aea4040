BEGIN TRANSACTION;
CREATE TABLE asides (
  node TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE dirty_shards (name TEXT PRIMARY KEY);
CREATE TABLE drains (
  node TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE flavor_rests (
  cloud TEXT NOT NULL, zone TEXT NOT NULL, flavor TEXT NOT NULL, until REAL NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (cloud, zone, flavor));
CREATE TABLE holds (
  node TEXT PRIMARY KEY, operation TEXT NOT NULL, failure TEXT NOT NULL, reason TEXT NOT NULL,
  until REAL NOT NULL, told INTEGER NOT NULL DEFAULT 0);
CREATE TABLE nodes (
  name TEXT PRIMARY KEY, pool TEXT NOT NULL, cloud TEXT NOT NULL, image TEXT NOT NULL,
  flavor TEXT NOT NULL, zone TEXT NOT NULL, address TEXT NOT NULL, generation INTEGER NOT NULL,
  shard TEXT NOT NULL DEFAULT '', server_id TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT '', by_hand TEXT NOT NULL DEFAULT '',
  image_id TEXT NOT NULL DEFAULT '', flavor_id TEXT NOT NULL DEFAULT '');
INSERT INTO "nodes" VALUES('up-4','compute','local','default','small','','10.150.1.4',0,'','',0,'','','','');
INSERT INTO "nodes" VALUES('up-5','compute','local','default','small','','10.150.1.5',0,'','',0,'','','','');
INSERT INTO "nodes" VALUES('up-6','compute','local','default','small','','10.150.1.6',0,'','',0,'','','','');
INSERT INTO "nodes" VALUES('up-1','compute','local','default','small','','10.150.1.1',1,'local/nodes-001','721dd3d0-ddb1-4352-8f36-e4227b7c7eb0',0,'7892b188-3113-471f-8baf-4d61bf375bd7','','default','small');
INSERT INTO "nodes" VALUES('up-2','compute','local','default','small','','10.150.1.2',1,'local/nodes-001','7d34c144-d4eb-48bf-b1a3-34fec1cfc9b9',0,'e0cd2690-9bc5-4c30-8367-1d0fcfb69fc7','','default','small');
INSERT INTO "nodes" VALUES('up-3','compute','local','default','small','','10.150.1.3',0,'','',0,'','','default','small');
CREATE TABLE operations (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, request TEXT NOT NULL,
  node TEXT NOT NULL, mode TEXT NOT NULL, phase TEXT NOT NULL, created REAL NOT NULL,
  since REAL NOT NULL, outcome TEXT NOT NULL DEFAULT '', failure TEXT, text TEXT NOT NULL DEFAULT '',
  shard TEXT NOT NULL DEFAULT '', server_id TEXT NOT NULL DEFAULT '',
  jobs TEXT NOT NULL DEFAULT '', action TEXT NOT NULL DEFAULT '', target TEXT NOT NULL DEFAULT '',
  UNIQUE (request, node));
INSERT INTO "operations" VALUES(1,'dbafcd','bab4fafb-c68c-4ca1-b2ee-48b47b91e0b7','up-1','resume','registering',1.79590578114340782165e+09,1.79590578351296520235e+09,'done',NULL,'','local/nodes-001','721dd3d0-ddb1-4352-8f36-e4227b7c7eb0','','','');
INSERT INTO "operations" VALUES(2,'722c37','0b893b89-8392-4d90-b44d-699197ee6bfb','up-2','resume','registering',1.79590578619064021115e+09,1.79590578879458379743e+09,'done',NULL,'','local/nodes-001','7d34c144-d4eb-48bf-b1a3-34fec1cfc9b9','','','');
INSERT INTO "operations" VALUES(3,'194b62','b716b01b-9b51-458e-aede-627849d23b29','up-3','resume','applying',1.79590579119237732886e+09,1.79590579185973715781e+09,'',NULL,'','local/nodes-001','','','','');
CREATE TABLE phases (
  operation TEXT NOT NULL, phase TEXT NOT NULL, at REAL NOT NULL);
INSERT INTO "phases" VALUES('dbafcd','checking',1.79590578114340782165e+09);
INSERT INTO "phases" VALUES('dbafcd','queued',1.79590578135023880008e+09);
INSERT INTO "phases" VALUES('dbafcd','planning',1.79590578139241957662e+09);
INSERT INTO "phases" VALUES('dbafcd','applying',1.79590578172613906859e+09);
INSERT INTO "phases" VALUES('dbafcd','booting',1.79590578223766756055e+09);
INSERT INTO "phases" VALUES('dbafcd','configuring',1.7959057823148083687e+09);
INSERT INTO "phases" VALUES('dbafcd','registering',1.795905783485604763e+09);
INSERT INTO "phases" VALUES('dbafcd','done',1.79590578351296520235e+09);
INSERT INTO "phases" VALUES('722c37','checking',1.79590578619064021115e+09);
INSERT INTO "phases" VALUES('722c37','queued',1.79590578630023884774e+09);
INSERT INTO "phases" VALUES('722c37','planning',1.79590578640991163248e+09);
INSERT INTO "phases" VALUES('722c37','applying',1.79590578673251247401e+09);
INSERT INTO "phases" VALUES('722c37','booting',1.79590578727162265772e+09);
INSERT INTO "phases" VALUES('722c37','configuring',1.79590578735875582702e+09);
INSERT INTO "phases" VALUES('722c37','registering',1.79590578874278473855e+09);
INSERT INTO "phases" VALUES('722c37','done',1.79590578879458379743e+09);
INSERT INTO "phases" VALUES('194b62','checking',1.79590579119237732886e+09);
INSERT INTO "phases" VALUES('194b62','queued',1.7959057912811267376e+09);
INSERT INTO "phases" VALUES('194b62','planning',1.79590579142570924762e+09);
INSERT INTO "phases" VALUES('194b62','applying',1.79590579185973715781e+09);
CREATE TABLE refusals (
  request TEXT NOT NULL, part TEXT NOT NULL, why TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE requests (
  id TEXT PRIMARY KEY, mode TEXT NOT NULL, hostlist TEXT NOT NULL, time REAL NOT NULL,
  source TEXT NOT NULL, job_id INTEGER, features TEXT NOT NULL, resume_file TEXT NOT NULL,
  received REAL NOT NULL, planned INTEGER NOT NULL DEFAULT 0);
INSERT INTO "requests" VALUES('bab4fafb-c68c-4ca1-b2ee-48b47b91e0b7','resume','up-1',1.7959057811273756027e+09,'hook',NULL,'','{"jobs":[{"job_id":1,"nodes":"up-1"}],"all_nodes":"up-1"}',1.79590578113654708862e+09,1);
INSERT INTO "requests" VALUES('0b893b89-8392-4d90-b44d-699197ee6bfb','resume','up-2',1.79590578617534112927e+09,'hook',NULL,'','{"jobs":[{"job_id":2,"nodes":"up-2"}],"all_nodes":"up-2"}',1.79590578618973755829e+09,1);
INSERT INTO "requests" VALUES('b716b01b-9b51-458e-aede-627849d23b29','resume','up-3',1.79590579117350649836e+09,'hook',NULL,'','{"jobs":[{"job_id":3,"nodes":"up-3"}],"all_nodes":"up-3"}',1.79590579118948388097e+09,1);
CREATE TABLE runs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, directory TEXT NOT NULL, pid INTEGER NOT NULL,
  start_ticks INTEGER NOT NULL, shard TEXT NOT NULL, operations TEXT NOT NULL, deadline REAL NOT NULL);
INSERT INTO "runs" VALUES('acb12c4a','apply','@PLACE@/state/runs/acb12c4a',30913,3709211,'local/nodes-001','194b62',1.79590699186894321446e+09);
CREATE INDEX requests_open ON requests (planned) WHERE planned = 0;
CREATE INDEX operations_open ON operations (outcome) WHERE outcome = '';
CREATE INDEX operations_node ON operations (node);
CREATE INDEX phases_operation ON phases (operation);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('operations',3);
COMMIT;
PRAGMA user_version = 3;
