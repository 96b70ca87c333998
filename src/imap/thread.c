/* SPDX-License-Identifier: MIT */
#include "imap/search.h"
#include "imap/thread_build.h"
#include "mail/cache.h"

/* THREAD and UID THREAD (RFC 5256), from what the cache records have. */

struct thread_command {
	struct imap_session *s;
	enum thread_algorithm algorithm;
	struct thread_builder *builder;
	struct search_plan plan;
	struct search_box box;
	struct search_result result;
	struct imap_progress progress;
};

static const struct {
	const char *name;
	enum thread_algorithm algorithm;
} algorithms[] = {
	{"ORDEREDSUBJECT", THREAD_ORDEREDSUBJECT},
	{"REFERENCES", THREAD_REFERENCES},
	{"REFS", THREAD_REFS},
};
enum { ALGORITHM_COUNT = sizeof(algorithms) / sizeof(algorithms[0]) };

static enum err
algorithm_parse(struct imap_parser *p, enum thread_algorithm *out)
{
	size_t start = p->at;
	struct str word;

	if (imap_parse_atom(p, "expected a threading algorithm", &word))
		return p->err;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		if (str_is_i(word, algorithms[i].name)) {
			*out = algorithms[i].algorithm;
			return imap_parse_space(p);
		}
	}
	p->at = start;
	return imap_parser_fail(p, E_PARSE, "there is no such threading algorithm");
}

static enum err
add_message(size_t n, const struct index_message *m, struct str record, void *ctx)
{
	struct thread_command *c = ctx;
	struct str fields[MAIL_CACHE_FIELDS], flags;
	struct thread_message t = {0};
	enum err e;

	(void)mail_cache_fields(record, fields);
	e = search_sent_date(&c->box, m, fields[MAIL_CACHE_SENT_DATE], &t.date);
	if (e)
		return e;
	flags = fields[MAIL_CACHE_SUBJECT_FLAGS];
	t.arrival = m->internal_date;
	t.number = c->s->uid ? m->uid : c->result.seqs[n];
	t.message_id = fields[MAIL_CACHE_MESSAGE_ID];
	t.references = fields[MAIL_CACHE_REFERENCES];
	t.base_subject = fields[MAIL_CACHE_BASE_SUBJECT];
	t.is_reply = flags.len == 1 && flags.p[0] & MAIL_CACHE_SUBJECT_IS_REPLY;
	return thread_builder_add(c->builder, &t);
}

static enum err
thread_messages(struct imap_session *s, struct thread_command *c)
{
	struct search_each each = {
		.box = &c->box,
		.with_facts = c->algorithm == THREAD_REFS,
		.with_record = 1,
		.progress = &c->progress,
		.visit = add_message,
		.ctx = c,
	};
	struct buf out = BUF_INIT(0);
	enum err e;

	search_start(s, &c->plan, &c->box, &c->progress);
	e = search_run(&c->box, &c->plan, &c->progress, &c->result);
	each.seqs = c->result.seqs;
	each.count = c->result.count;
	if (!e)
		e = search_each(&each);
	if (!e) {
		(void)buf_add_cstr(&out, "* THREAD");
		if (each.count)
			(void)buf_add_char(&out, ' ');
		e = thread_builder_write(c->builder, &out);
	}
	if (!e) {
		(void)buf_add_cstr(&out, "\r\n");
		(void)stream_write_str(s->client, buf_str(&out));
	}
	buf_free(&out);
	return e;
}

static enum err
run_thread(struct imap_session *s, struct imap_parser *p)
{
	struct thread_command c = {.s = s};
	enum err e;

	(void)imap_parse_space(p);
	(void)algorithm_parse(p, &c.algorithm);
	e = search_criteria_parse(s, p, &c.plan);
	if (!e && search_is_refused(&c.plan)) {
		e = search_reply_refused(s, &c.plan);
	} else if (!e) {
		c.builder = thread_builder_create(c.algorithm);
		e = thread_messages(s, &c);
		if (e)
			e = imap_reply_error(s, e, "message");
		else
			e = search_reply(
				s, &c.result, s->uid ? "UID THREAD completed" : "THREAD completed");
	}
	thread_builder_free(&c.builder);
	search_plan_fini(&c.plan);
	search_result_fini(&c.result);
	return e;
}

const struct imap_command imap_command_thread = {
	.name = "THREAD",
	.rfc = "5256 3",
	.states = IN_SELECTED,
	.uid = 1,
	.sync = IMAP_SYNC_NO_EXPUNGE,
	.capabilities = "THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS",
	.run = run_thread,
};
