/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include "lib/log.h"
#include "mail/mutf7.h"

/* RFC 2971 section 3.3: at most 30 fields. */
enum { ID_FIELDS_MAX = 30 };

struct client_id {
	struct str name, version;
};

static void
fields_parse(struct imap_parser *p, struct client_id *id)
{
	struct str key, value;
	size_t n = 0;
	int nil;

	(void)imap_parse_open(p);
	while (imap_parse_item(p, &n)) {
		if (n > ID_FIELDS_MAX) {
			(void)imap_parser_fail(p, E_TOOBIG, "too many fields");
			return;
		}
		(void)imap_parse_string(p, &key);
		(void)imap_parse_space(p);
		if (imap_parse_nstring(p, &value, &nil))
			return;
		if (str_is_i(key, "name"))
			id->name = value;
		else if (str_is_i(key, "version"))
			id->version = value;
	}
}

static enum err
run_id(struct imap_session *s, struct imap_parser *p)
{
	struct client_id id = {{NULL, 0}, {NULL, 0}};

	(void)imap_parse_space(p);
	if (!imap_parse_try_word(p, "NIL"))
		fields_parse(p, &id);
	if (imap_parse_end(p))
		return p->err;
	log_event(LOGL_DEBUG, "imap.client id", "name", id.name.p ? log_str(id.name) : NULL,
		"version", id.version.p ? log_str(id.version) : NULL, NULL);
	imap_untagged(s, "ID (\"name\" \"Roost\")");
	return imap_reply_ok(s, NULL, "Id completed");
}

static void
namespace_write(struct imap_session *s, const char *name)
{
	struct buf prefix = {0}, wire = {0};

	if (!name[0]) {
		(void)buf_add_cstr(&s->out, " NIL");
		return;
	}
	(void)buf_printf(&prefix, "%s/", name);
	(void)buf_add_cstr(&s->out, " ((");
	if (imap_uses_utf8(s) || mutf7_from_utf8(buf_str(&prefix), &wire))
		imap_write_string(&s->out, buf_str(&prefix));
	else
		imap_write_string(&s->out, buf_str(&wire));
	(void)buf_add_cstr(&s->out, " \"/\"))");
	buf_free(&prefix);
	buf_free(&wire);
}

static enum err
run_namespace(struct imap_session *s, struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	(void)buf_add_cstr(&s->out, "NAMESPACE ((\"\" \"/\"))");
	namespace_write(s, s->conf->imap_namespace_other);
	namespace_write(s, s->conf->imap_namespace_public);
	imap_untagged_out(s);
	return imap_reply_ok(s, NULL, "Namespace completed");
}

const struct imap_command imap_command_id = {
	.name = "ID",
	.rfc = "2971 3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "ID",
	.run = run_id,
};
const struct imap_command imap_command_namespace = {
	.name = "NAMESPACE",
	.rfc = "2342 5",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "NAMESPACE",
	.run = run_namespace,
};
