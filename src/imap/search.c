/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include "imap/context.h"
#include "imap/esearch.h"

/* SEARCH and UID SEARCH (RFC 3501 and RFC 9051 section 6.4.4), with return options. */

struct search_command {
	struct esearch_return ret;
	struct search_plan plan;
	struct search_box box;
	struct search_result result;
	struct imap_progress progress;
};

static enum err
send_result(struct imap_session *s, struct search_command *c)
{
	struct esearch_reply reply = {
		.s = s,
		.ret = &c->ret,
		.box = &c->box,
		.plan = &c->plan,
		.seqs = c->result.seqs,
		.count = c->result.count,
		.uid = s->uid,
	};

	return esearch_send_as(&reply, "SEARCH");
}

static enum err
search_do(struct imap_session *s, struct search_command *c)
{
	uint64_t modseq = 0;
	enum err e;

	if (c->plan.bad_charset) {
		esearch_save_failed(s, &c->ret);
		return search_reply_bad_charset(s);
	}
	if (c->ret.items & ESEARCH_UPDATE)
		modseq = imap_context_modseq(s);
	search_start(s, &c->plan, &c->box, &c->progress);
	e = search_run(&c->box, &c->plan, &c->progress, &c->result);
	if (!e)
		e = send_result(s, c);
	if (e || c->result.failed)
		esearch_save_failed(s, &c->ret);
	if (e)
		return imap_reply_error(s, e, "message");
	if (!c->result.failed)
		esearch_save(s, &c->ret, c->result.seqs, c->result.count);
	if (c->ret.items & ESEARCH_UPDATE)
		imap_context_add(s, &c->plan, NULL, &c->ret.fetch, s->uid, modseq, c->result.seqs,
			c->result.count);
	return search_reply(s, &c->result, s->uid ? "UID SEARCH completed" : "SEARCH completed");
}

static enum err
search(struct imap_session *s, struct imap_parser *p)
{
	struct search_command c = {.ret = {0}};
	enum err e;

	(void)imap_parse_space(p);
	(void)esearch_return_parse(p, &c.ret);
	/* RFC 9051 section 6.4.4: the answer is always an ESEARCH response. */
	if (!c.ret.given && (s->enabled & IMAP_REV2)) {
		c.ret.given = 1;
		c.ret.items = ESEARCH_ALL;
	}
	e = search_plan_parse(s, p, &c.plan);
	if (!e && c.ret.items & ESEARCH_UPDATE && imap_context_exists(s, s->tag))
		e = imap_parser_fail(p, E_PARSE, "this tag names an updating search already");
	if (!e)
		e = search_do(s, &c);
	esearch_return_fini(&c.ret);
	search_plan_fini(&c.plan);
	search_result_fini(&c.result);
	return e;
}

const struct imap_command imap_command_search = {
	.name = "SEARCH",
	.rfc = "9051 6.4.4",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "ESEARCH SEARCHRES WITHIN I18NLEVEL=1 INPROGRESS",
	.run = search,
};
