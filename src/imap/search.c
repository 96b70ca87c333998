/* SPDX-License-Identifier: MIT */
#include "imap/search.h"

#include <stdio.h>

#include "imap/context.h"
#include "imap/esearch.h"
#include "imap/sort.h"

/*
 * SEARCH (RFC 3501 and RFC 9051 section 6.4.4) and SORT (RFC 5256, with SORT=DISPLAY of RFC 5957
 * and ESORT of RFC 5267 section 3), with return options, each in both forms.
 */

struct search_command {
	const struct sort_program *program; /* of SORT; or NULL */
	struct esearch_return ret;
	struct search_plan plan;
	struct search_box box;
	struct search_result result; /* of SORT, from sort_run on in the program's order */
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
		.scores = c->result.scores,
		.count = c->result.count,
		.uid = s->uid,
	};

	return esearch_send_as(&reply, s->command->name);
}

static enum err
search_do(struct imap_session *s, struct search_command *c)
{
	uint64_t modseq = 0;
	char done[64];
	enum err e;

	if (search_is_refused(&c->plan)) {
		esearch_save_failed(s, &c->ret);
		return search_reply_refused(s, &c->plan);
	}
	if (c->ret.items & ESEARCH_UPDATE)
		modseq = imap_context_modseq(s);
	/* SORT has its order from the cache and is not limited (RFC 9738 section 3.3). */
	if (!c->program)
		c->plan.looked_max = imap_limit_of_messages(s->conf);
	search_start(s, &c->plan, &c->box, &c->progress);
	e = search_run(&c->box, &c->plan, &c->progress, &c->result);
	if (!e && c->program)
		e = sort_run(&c->box, c->program, &c->progress, c->result.seqs, c->result.scores,
			&c->result.count);
	if (!e)
		e = send_result(s, c);
	if (e || c->result.failed)
		esearch_save_failed(s, &c->ret);
	if (e)
		return imap_reply_error(s, e, "message");
	if (!c->result.failed)
		esearch_save(s, &c->ret, c->result.seqs, c->result.count);
	/* What was left out would come to light one by one; what comes later is looked at whole. */
	c->plan.looked_max = c->plan.wants_scores = 0;
	if ((c->ret.items & ESEARCH_UPDATE) && c->result.limit.messages)
		imap_context_refuse(s, "Too many messages");
	/* A message's place would depend on those of all others, whose relevancy is not kept. */
	else if ((c->ret.items & ESEARCH_UPDATE) && c->program &&
		 sort_program_has_relevancy(c->program))
		imap_context_refuse(s, "What is sorted by relevancy is not kept up to date");
	else if (c->ret.items & ESEARCH_UPDATE)
		imap_context_add(s, &c->plan, c->program, &c->ret.fetch, s->uid, modseq,
			c->result.seqs, c->result.count);
	snprintf(done, sizeof(done), "%s%s completed", s->uid ? "UID " : "", s->command->name);
	return search_reply(s, &c->result, done);
}

static int
wants_scores(const struct search_command *c)
{
	return c->ret.items & ESEARCH_RELEVANCY ||
	       (c->program && sort_program_has_relevancy(c->program));
}

/* e: of the criteria. What was parsed is done, and everything freed. */
static enum err
command_end(struct imap_session *s, struct imap_parser *p, struct search_command *c, enum err e)
{
	e = e ? e : search_plan_want_scores(&c->plan, p, wants_scores(c));
	if (!e && c->ret.items & ESEARCH_UPDATE && imap_context_exists(s, s->tag))
		e = imap_parser_fail(p, E_PARSE, "this tag names an updating search already");
	if (!e)
		e = search_do(s, c);
	esearch_return_fini(&c->ret);
	search_plan_fini(&c->plan);
	search_result_fini(&c->result);
	return e;
}

static enum err
run_search(struct imap_session *s, struct imap_parser *p)
{
	struct search_command c = {.ret = {0}};

	(void)imap_parse_space(p);
	(void)esearch_return_parse(p, &c.ret);
	/* RFC 9051 section 6.4.4: the answer is always an ESEARCH response. */
	if (!c.ret.given && (s->enabled & IMAP_REV2)) {
		c.ret.given = 1;
		c.ret.items = ESEARCH_ALL;
	}
	return command_end(s, p, &c, search_plan_parse(s, p, &c.plan));
}

static enum err
run_sort(struct imap_session *s, struct imap_parser *p)
{
	struct sort_program program = {.n = 0};
	struct search_command c = {.program = &program};

	(void)imap_parse_space(p);
	(void)esearch_return_parse(p, &c.ret);
	(void)sort_program_parse(p, &program);
	(void)imap_parse_space(p);
	return command_end(s, p, &c, search_criteria_parse(s, p, &c.plan));
}

const struct imap_command imap_command_search = {
	.name = "SEARCH",
	.rfc = "9051 6.4.4",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "ESEARCH SEARCHRES WITHIN I18NLEVEL=1 INPROGRESS FILTERS",
	.run = run_search,
};
const struct imap_command imap_command_sort = {
	.name = "SORT",
	.rfc = "5256 3",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "SORT SORT=DISPLAY ESORT",
	.run = run_sort,
};
