/* SPDX-License-Identifier: MIT */
#include "imap/sort.h"

#include "imap/context.h"
#include "imap/esearch.h"

/* SORT and UID SORT (RFC 5256) with SORT=DISPLAY (RFC 5957) and ESORT (RFC 5267 section 3). */

struct sort_command {
	struct esearch_return ret;
	struct sort_program program;
	struct search_plan plan;
	struct search_box box;
	struct search_result result; /* from sort_run on in the program's order */
	struct imap_progress progress;
};

static enum err
send_result(struct imap_session *s, struct sort_command *c)
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

	return esearch_send_as(&reply, "SORT");
}

static enum err
sort_do(struct imap_session *s, struct sort_command *c)
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
		e = sort_run(&c->box, &c->program, &c->progress, c->result.seqs, &c->result.count);
	if (!e)
		e = send_result(s, c);
	if (e || c->result.failed)
		esearch_save_failed(s, &c->ret);
	if (e)
		return imap_reply_error(s, e, "message");
	if (!c->result.failed)
		esearch_save(s, &c->ret, c->result.seqs, c->result.count);
	if (c->ret.items & ESEARCH_UPDATE)
		imap_context_add(s, &c->plan, &c->program, &c->ret.fetch, s->uid, modseq,
			c->result.seqs, c->result.count);
	return search_reply(s, &c->result, s->uid ? "UID SORT completed" : "SORT completed");
}

static enum err
run_sort(struct imap_session *s, struct imap_parser *p)
{
	struct sort_command c = {.ret = {0}};
	enum err e;

	(void)imap_parse_space(p);
	(void)esearch_return_parse(p, &c.ret);
	(void)sort_program_parse(p, &c.program);
	(void)imap_parse_space(p);
	e = search_criteria_parse(s, p, &c.plan);
	if (!e && c.ret.items & ESEARCH_UPDATE && imap_context_exists(s, s->tag))
		e = imap_parser_fail(p, E_PARSE, "this tag names an updating search already");
	if (!e)
		e = sort_do(s, &c);
	esearch_return_fini(&c.ret);
	search_plan_fini(&c.plan);
	search_result_fini(&c.result);
	return e;
}

const struct imap_command imap_command_sort = {
	.name = "SORT",
	.rfc = "5256 3",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "SORT SORT=DISPLAY ESORT",
	.run = run_sort,
};
