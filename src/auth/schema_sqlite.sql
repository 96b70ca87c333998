CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE domain (
	name TEXT PRIMARY KEY,
	active INTEGER NOT NULL DEFAULT 1,
	created INTEGER NOT NULL DEFAULT 0,
	changed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE node (
	name TEXT PRIMARY KEY,
	address TEXT NOT NULL,
	active INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE TABLE mailbox (
	domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	local TEXT NOT NULL,
	password TEXT NOT NULL,
	quota_bytes INTEGER,
	quota_messages INTEGER,
	active INTEGER NOT NULL DEFAULT 1,
	name TEXT NOT NULL DEFAULT '',
	node TEXT REFERENCES node (name),
	created INTEGER NOT NULL DEFAULT 0,
	changed INTEGER NOT NULL DEFAULT 0,
	last_login INTEGER,
	protocols TEXT NOT NULL DEFAULT '',
	networks TEXT NOT NULL DEFAULT '',
	max_connections INTEGER,
	max_connections_per_ip INTEGER,
	last_login_ip TEXT,
	last_login_protocol TEXT,
	host TEXT NOT NULL DEFAULT '',
	acl_groups TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (domain, local)
) WITHOUT ROWID;
CREATE TABLE alias (
	domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	local TEXT NOT NULL,
	target TEXT NOT NULL,
	active INTEGER NOT NULL DEFAULT 1,
	created INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (domain, local, target)
) WITHOUT ROWID;
CREATE TABLE domain_alias (
	alias TEXT PRIMARY KEY,
	target TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	active INTEGER NOT NULL DEFAULT 1,
	created INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE app_password (
	id INTEGER PRIMARY KEY,
	domain TEXT NOT NULL,
	local TEXT NOT NULL,
	name TEXT NOT NULL,
	password TEXT NOT NULL,
	services TEXT NOT NULL DEFAULT '',
	networks TEXT NOT NULL DEFAULT '',
	created INTEGER NOT NULL DEFAULT 0,
	expires INTEGER,
	last_used INTEGER,
	last_used_ip TEXT,
	last_used_protocol TEXT,
	UNIQUE (domain, local, name),
	FOREIGN KEY (domain, local) REFERENCES mailbox (domain, local) ON DELETE CASCADE
);
CREATE TABLE transport (
	domain TEXT PRIMARY KEY,
	next_hop TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE quota (
	domain TEXT NOT NULL,
	local TEXT NOT NULL,
	rules TEXT NOT NULL,
	changed INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (domain, local),
	FOREIGN KEY (domain, local) REFERENCES mailbox (domain, local) ON DELETE CASCADE
) WITHOUT ROWID;
INSERT INTO schema_version VALUES (7);
