/* SPDX-License-Identifier: MIT */
#include "imap/imap.h"

#include <inttypes.h>

#include "imap/limit.h"

/*
 * What no single command brings: the protocol itself, literals of the parser (RFC 7888), the
 * initial response and the referrals of the log-in dialogue (RFC 4959, 2221), attributes of LIST
 * (RFC 3348), UIDs in the replies of APPEND, COPY and EXPUNGE (RFC 4315).
 */
static const char base_capabilities[] =
	"IMAP4rev1 SASL-IR LOGIN-REFERRALS LITERAL+ CHILDREN UIDPLUS";

/* What ENABLE (RFC 5161) knows. Each of them is a capability too. */
static const struct {
	const char *name;
	enum imap_extension bit;
} extensions[] = {
	{"CONDSTORE", IMAP_CONDSTORE},
	{"QRESYNC", IMAP_QRESYNC},
	{"IMAP4rev2", IMAP_REV2},
	{"UTF8=ACCEPT", IMAP_UTF8},
	{"UIDONLY", IMAP_UIDONLY},
};
enum { EXTENSION_COUNT = sizeof(extensions) / sizeof(extensions[0]) };

void
imap_capabilities(const struct config *conf, struct buf *out)
{
	(void)buf_add_cstr(out, base_capabilities);
	for (size_t i = 0; imap_commands[i]; i++) {
		if (!imap_commands[i]->capabilities)
			continue;
		(void)buf_add_char(out, ' ');
		(void)buf_add_cstr(out, imap_commands[i]->capabilities);
	}
	for (size_t i = 0; i < EXTENSION_COUNT; i++)
		(void)buf_printf(out, " %s", extensions[i].name);
	/* RFC 6203: it is there without an index too, but then a search reads all mail. */
	if (conf->fts)
		(void)buf_add_cstr(out, " SEARCH=FUZZY");
	/* RFC 7889 section 2: the same for all mailboxes. */
	imap_limit_capability(conf, out);
	(void)buf_printf(out, " APPENDLIMIT=%" PRIu64, (uint64_t)conf->max_message_size);
}

static enum err
run_capability(struct imap_session *s, struct imap_parser *p)
{
	if (imap_parse_end(p))
		return p->err;
	(void)buf_add_cstr(&s->out, "CAPABILITY ");
	imap_capabilities(s->conf, &s->out);
	imap_untagged_out(s);
	return imap_reply_ok(s, NULL, "Capability completed");
}

/*
 * Names we do not know, and those that need no enabling, are passed over, and the answer has what
 * was enabled (RFC 5161 section 3.1, 3.2).
 */
static enum err
run_enable(struct imap_session *s, struct imap_parser *p)
{
	unsigned wanted = 0;
	struct str name;

	do {
		(void)imap_parse_space(p);
		(void)imap_parse_atom(p, "expected a capability", &name);
		for (size_t i = 0; i < EXTENSION_COUNT && !p->err; i++)
			if (str_is_i(name, extensions[i].name))
				wanted |= extensions[i].bit;
	} while (!p->err && !imap_parse_at_end(p));
	if (imap_parse_end(p))
		return p->err;
	(void)buf_add_cstr(&s->out, "ENABLED");
	for (size_t i = 0; i < EXTENSION_COUNT; i++)
		if (wanted & extensions[i].bit)
			(void)buf_printf(&s->out, " %s", extensions[i].name);
	imap_untagged_out(s);
	imap_enable(s, wanted);
	return imap_reply_ok(s, NULL, "Enable completed");
}

const struct imap_command imap_command_capability = {
	.name = "CAPABILITY",
	.rfc = "3501 6.1.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.run = run_capability,
};
const struct imap_command imap_command_enable = {
	.name = "ENABLE",
	.rfc = "5161 3.1",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "ENABLE",
	.run = run_enable,
};
