CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE domain (
	name TEXT PRIMARY KEY,
	active SMALLINT NOT NULL DEFAULT 1,
	created BIGINT NOT NULL DEFAULT 0,
	changed BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE node (
	name TEXT PRIMARY KEY,
	address TEXT NOT NULL,
	active SMALLINT NOT NULL DEFAULT 1
);
CREATE TABLE mailbox (
	domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	local TEXT NOT NULL,
	password TEXT NOT NULL,
	quota_bytes BIGINT,
	quota_messages BIGINT,
	active SMALLINT NOT NULL DEFAULT 1,
	name TEXT NOT NULL DEFAULT '',
	node TEXT REFERENCES node (name),
	created BIGINT NOT NULL DEFAULT 0,
	changed BIGINT NOT NULL DEFAULT 0,
	last_login BIGINT,
	protocols TEXT NOT NULL DEFAULT '',
	networks TEXT NOT NULL DEFAULT '',
	max_connections BIGINT,
	max_connections_per_ip BIGINT,
	last_login_ip TEXT,
	last_login_protocol TEXT,
	host TEXT NOT NULL DEFAULT '',
	acl_groups TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (domain, local)
);
CREATE TABLE alias (
	domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	local TEXT NOT NULL,
	target TEXT NOT NULL,
	active SMALLINT NOT NULL DEFAULT 1,
	created BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (domain, local, target)
);
CREATE TABLE domain_alias (
	alias TEXT PRIMARY KEY,
	target TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
	active SMALLINT NOT NULL DEFAULT 1,
	created BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE app_password (
	id BIGSERIAL PRIMARY KEY,
	domain TEXT NOT NULL,
	local TEXT NOT NULL,
	name TEXT NOT NULL,
	password TEXT NOT NULL,
	services TEXT NOT NULL DEFAULT '',
	networks TEXT NOT NULL DEFAULT '',
	created BIGINT NOT NULL DEFAULT 0,
	expires BIGINT,
	last_used BIGINT,
	last_used_ip TEXT,
	last_used_protocol TEXT,
	UNIQUE (domain, local, name),
	FOREIGN KEY (domain, local) REFERENCES mailbox (domain, local) ON DELETE CASCADE
);
CREATE TABLE transport (
	domain TEXT PRIMARY KEY,
	next_hop TEXT NOT NULL
);
CREATE TABLE quota (
	domain TEXT NOT NULL,
	local TEXT NOT NULL,
	rules TEXT NOT NULL,
	changed BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (domain, local),
	FOREIGN KEY (domain, local) REFERENCES mailbox (domain, local) ON DELETE CASCADE
);
INSERT INTO schema_version VALUES (7);
