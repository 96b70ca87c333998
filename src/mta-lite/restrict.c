/* SPDX-License-Identifier: MIT */
#include "mta-lite/restrict.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/restrict_private.h"
#include "mta-lite/words.h"

const char restrict_class_client[] = "Client host", restrict_class_helo[] = "Helo command",
	   restrict_class_sender[] = "Sender address",
	   restrict_class_recipient[] = "Recipient address", restrict_class_data[] = "Data command",
	   restrict_class_end[] = "End-of-data", restrict_class_etrn[] = "Etrn command";

enum { LISTS_DEPTH_MAX = 10 };

/* ---- lists ---- */

static const struct check_type *
find_type(struct str name)
{
	static const struct check_type *const tables[] = {
		restrict_permits, restrict_names_checks, restrict_lists, restrict_access};
	const struct check_type *t;
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (t = tables[i]; t->name; t++) {
			if (str_is_i(name, t->name))
				return t;
		}
	}
	return NULL;
}

static void
check_fini(struct check *c)
{
	map_list_free(&c->table);
	free(c->text);
	free(c->filter);
}

void
restrict_list_free(struct check_list *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		check_fini(&l->checks[i]);
	free(l->checks);
	*l = (struct check_list){0};
}

static enum err
take_table(struct restrict_set *s, struct check *c, struct str word, struct buf *why)
{
	char *text = str_dup(word);
	struct conf_list one = {&text, 1};
	enum err e = map_list_parse(s->maps, &one, &c->table, why);

	free(text);
	return e;
}

static enum err
take_argument(struct restrict_set *s, struct check *c, struct str *rest, struct buf *why)
{
	struct str word;
	size_t equal;

	if (c->type->argument == ARG_NONE)
		return OK;
	if (!words_next(rest, &word, NULL)) {
		buf_printf(why, "%s wants something behind it", c->type->name);
		return E_PARSE;
	}
	if (c->type->argument == ARG_TABLE)
		return take_table(s, c, word, why);
	equal = c->type->argument == ARG_ZONE ? str_find(word, 0, '=') : word.len;
	c->text = str_dup(str_make(word.p, equal));
	if (equal < word.len)
		c->filter = str_dup(str_make(word.p + equal + 1, word.len - equal - 1));
	return OK;
}

/* Postfix reads a bare "type:name" in these lists as the table of the stage's own subject. */
static const char *
bare_table_check(enum restrict_stage stage)
{
	switch (stage) {
	case RESTRICT_CLIENT:
		return "check_client_access";
	case RESTRICT_HELO:
		return "check_helo_access";
	case RESTRICT_SENDER:
		return "check_sender_access";
	case RESTRICT_ETRN:
		return "check_etrn_access";
	default:
		return "check_recipient_access";
	}
}

static enum err
parse_words(struct restrict_set *s, struct str text, enum restrict_stage stage,
	struct check_list *out, struct buf *why)
{
	struct str rest = text, word;
	int unbalanced = 0;
	enum err e = OK;

	while (e == OK && words_next(&rest, &word, &unbalanced)) {
		struct check c = {.type = find_type(word)};

		if (c.type) {
			e = take_argument(s, &c, &rest, why);
		} else if (str_find(word, 0, ':') < word.len) {
			c.type = find_type(str_of(bare_table_check(stage)));
			e = take_table(s, &c, word, why);
		} else {
			buf_printf(why, "'%.*s' is no restriction", STR_ARG(word));
			e = E_PARSE;
		}
		if (e) {
			check_fini(&c);
			break;
		}
		out->checks = mem_realloc(out->checks, out->count + 1, sizeof(*out->checks));
		out->checks[out->count++] = c;
	}
	if (e == OK && unbalanced) {
		buf_add_cstr(why, "a brace is not closed");
		e = E_PARSE;
	}
	return e;
}

enum err
restrict_list_parse(
	struct restrict_set *s, struct str text, struct check_list *out, struct buf *why)
{
	enum err e;

	*out = (struct check_list){0};
	e = parse_words(s, text, RESTRICT_RECIPIENT, out, why);
	if (e)
		restrict_list_free(out);
	return e;
}

static void
compile(struct restrict_set *s, enum restrict_stage stage, const char *setting,
	const struct conf_list *list)
{
	struct check_list *l = &s->stages[stage];
	char *text = words_join(list);
	struct buf why = {0};

	if (parse_words(s, str_of(text), stage, l, &why)) {
		log_event(LOGL_ERROR, "smtpd.restrictions malformed", "setting", setting, "reason",
			buf_cstr(&why), NULL);
		restrict_list_free(l);
		l->broken = 1;
	}
	buf_free(&why);
	free(text);
}

/* Whether the list ends with a no for strangers' mail for others, whatever else it says. */
static int
controls_relaying(const struct check_list *l)
{
	static const char *const ends[] = {
		"reject_unauth_destination", "defer_unauth_destination", "reject", "defer"};
	size_t i, k;

	if (l->broken)
		return 1; /* it lets nobody in */
	for (i = 0; i < l->count; i++) {
		const char *name = l->checks[i].type->name;

		if (strcmp(name, "permit") == 0)
			return 0;
		/* Of warn_if_reject only a warning comes. */
		if (strcmp(name, "warn_if_reject") == 0) {
			i++;
			continue;
		}
		for (k = 0; k < sizeof(ends) / sizeof(ends[0]); k++) {
			if (strcmp(name, ends[k]) == 0)
				return 1;
		}
	}
	return 0;
}

static void
guard_relaying(struct restrict_set *s)
{
	static const char rest[] =
		"permit_mynetworks permit_sasl_authenticated reject_unauth_destination";
	struct check_list *l = &s->stages[RESTRICT_RELAY];
	struct buf why = {0};
	size_t i;

	if (controls_relaying(l))
		return;
	if (controls_relaying(&s->stages[RESTRICT_RECIPIENT]))
		return;
	log_event(LOGL_WARN, "smtpd.restrictions completed", "setting", "smtpd_relay_restrictions",
		"reason", "nothing in it keeps strangers from relaying", "added", rest, NULL);
	/* A "permit" for everybody would hide what comes behind it. */
	for (i = 0; i < l->count && strcmp(l->checks[i].type->name, "permit") != 0; i++)
		;
	while (l->count > i)
		check_fini(&l->checks[--l->count]);
	(void)parse_words(s, str_of(rest), RESTRICT_RELAY, l, &why);
	buf_free(&why);
}

void
restrict_tables(struct restrict_set *s, const char *setting, const struct conf_list *names,
	struct map_list *out)
{
	char never[] = "fail:malformed", *names_of_it = never;
	const struct conf_list fail = {&names_of_it, 1};
	struct buf why = {0};

	if (map_list_parse(s->maps, names, out, &why)) {
		log_event(LOGL_ERROR, "smtpd.restrictions malformed", "setting", setting, "reason",
			buf_cstr(&why), NULL);
		(void)map_list_parse(s->maps, &fail, out, NULL);
	}
	buf_free(&why);
}

struct restrict_set *
restrict_create(const struct config *conf, struct maps *maps)
{
	struct restrict_set *s = MEM_NEW(struct restrict_set);

	s->conf = conf;
	s->maps = maps;
#define LIST(stage, name) compile(s, stage, #name, &conf->name)
	LIST(RESTRICT_CLIENT, smtpd_client_restrictions);
	LIST(RESTRICT_HELO, smtpd_helo_restrictions);
	LIST(RESTRICT_SENDER, smtpd_sender_restrictions);
	LIST(RESTRICT_RELAY, smtpd_relay_restrictions);
	LIST(RESTRICT_RECIPIENT, smtpd_recipient_restrictions);
	LIST(RESTRICT_DATA, smtpd_data_restrictions);
	LIST(RESTRICT_END_OF_DATA, smtpd_end_of_data_restrictions);
	LIST(RESTRICT_ETRN, smtpd_etrn_restrictions);
	LIST(RESTRICT_SUBMISSION, submission_restrictions);
#undef LIST
	guard_relaying(s);
	restrict_tables(
		s, "smtpd_sender_login_maps", &conf->smtpd_sender_login_maps, &s->login_maps);
	restrict_tables(s, "relay_clientcerts", &conf->relay_clientcerts, &s->client_certs);
	restrict_relay_open(s);
	return s;
}

void
restrict_free(struct restrict_set **s)
{
	int stage;

	if (*s == NULL)
		return;
	for (stage = 0; stage < RESTRICT_STAGE_COUNT; stage++)
		restrict_list_free(&(*s)->stages[stage]);
	map_list_free(&(*s)->login_maps);
	map_list_free(&(*s)->client_certs);
	restrict_relay_close(*s);
	MEM_FREE(*s);
}

int
restrict_asks_dns(const struct restrict_set *s)
{
	size_t i;
	int stage;

	for (stage = 0; stage < RESTRICT_STAGE_COUNT; stage++) {
		for (i = 0; i < s->stages[stage].count; i++) {
			if (s->stages[stage].checks[i].type->asks_dns)
				return 1;
		}
	}
	return 0;
}

int
restrict_is_empty(const struct restrict_set *s, enum restrict_stage stage)
{
	return s->stages[stage].count == 0 && !s->stages[stage].broken;
}

/* ---- evaluation ---- */

enum restrict_verdict
restrict_list_run(struct restrict_run *r, const struct check_list *l)
{
	enum restrict_verdict v = RESTRICT_DUNNO;
	size_t i;

	if (l->broken)
		return restrict_reject_text(r, 451, "4.3.5", "Server configuration error");
	if (r->depth >= LISTS_DEPTH_MAX)
		return restrict_reject_text(r, 451, "4.3.5", "Server configuration error");
	r->depth++;
	for (i = 0; i < l->count && v == RESTRICT_DUNNO; i++) {
		const struct check *c = &l->checks[i];

		if (strcmp(c->type->name, "warn_if_reject") == 0) {
			r->warn = 1;
			continue;
		}
		v = c->type->run(r, c);
		r->warn = 0;
	}
	r->depth--;
	return v;
}

enum restrict_verdict
restrict_run(const struct restrict_set *s, enum restrict_stage stage,
	const struct restrict_facts *facts, const struct restrict_host *host,
	struct restrict_effects *effects, struct buf *reply)
{
	struct restrict_run r = {
		.set = s,
		.stage = stage,
		.facts = facts,
		.host = host,
		.effects = effects,
		.reply = reply,
	};

	return restrict_list_run(&r, &s->stages[stage]);
}

enum restrict_verdict
restrict_finish(struct restrict_effects *effects, struct buf *reply)
{
	enum restrict_verdict v = RESTRICT_DUNNO;

	if (effects->defer_if_permit) {
		buf_reset(reply);
		buf_add_cstr(reply, effects->defer_if_permit);
		v = RESTRICT_REJECT;
	}
	MEM_FREE(effects->defer_if_permit);
	MEM_FREE(effects->defer_if_reject);
	return v;
}

static void
free_texts(char **texts, size_t n)
{
	while (n > 0)
		free(texts[--n]);
	free((void *)texts);
}

void
restrict_effects_free(struct restrict_effects *e)
{
	free(e->hold);
	free(e->discard);
	free(e->filter);
	free(e->redirect);
	free(e->defer_if_permit);
	free(e->defer_if_reject);
	free_texts(e->bcc, e->bcc_count);
	free_texts(e->prepend, e->prepend_count);
	*e = (struct restrict_effects){0};
}

/* ---- replies ---- */

/* A peer's bytes are in it. */
static void
make_printable(struct buf *b)
{
	size_t i;

	for (i = 0; i < b->len; i++) {
		if ((unsigned char)b->p[i] < ' ' || b->p[i] == 0x7f)
			b->p[i] = '?';
	}
}

static void
make_reply(struct restrict_run *r, int code, const char *dsn, const char *text, struct buf *out)
{
	buf_reset(out);
	if (r->effects->defer_if_reject && code >= 500)
		buf_add_cstr(out, r->effects->defer_if_reject);
	else
		buf_printf(out, "%d %s %s", code, dsn, text);
	make_printable(out);
}

enum restrict_verdict
restrict_reject_text(struct restrict_run *r, int code, const char *dsn, const char *text)
{
	make_reply(r, code, dsn, text, r->reply);
	if (!r->warn)
		return RESTRICT_REJECT;
	log_event(LOGL_WARN, "smtpd.reject_warning", "ip", r->facts->client_ip, "helo",
		r->facts->helo, "from", r->facts->sender, "to", r->facts->recipient, "reply",
		buf_cstr(r->reply), NULL);
	buf_reset(r->reply);
	return RESTRICT_DUNNO;
}

static char *
class_text(const char *name, const char *class, const char *text)
{
	return mem_printf("<%s>: %s rejected: %s", name, class, text);
}

enum restrict_verdict
restrict_reject(struct restrict_run *r, int code, const char *dsn, const char *name,
	const char *class, const char *text)
{
	char *whole = class_text(name, class, text);
	enum restrict_verdict v = restrict_reject_text(r, code, dsn, whole);

	free(whole);
	return v;
}

/* Keeps the reply unless there is one already. */
static void
keep_reply(struct restrict_run *r, char **field, int code, const char *dsn, const char *name,
	const char *class, const char *text)
{
	char *whole = class_text(name, class, text);
	struct buf line = BUF_INIT(1200);

	make_reply(r, code, dsn, whole, &line);
	if (r->warn)
		log_event(LOGL_WARN, "smtpd.reject_warning", "ip", r->facts->client_ip, "reply",
			buf_cstr(&line), NULL);
	else if (*field == NULL)
		*field = buf_steal(&line);
	buf_free(&line);
	free(whole);
}

void
restrict_defer_if_permit(struct restrict_run *r, int code, const char *dsn, const char *name,
	const char *class, const char *text)
{
	keep_reply(r, &r->effects->defer_if_permit, code, dsn, name, class, text);
}

void
restrict_defer_if_reject(struct restrict_run *r, const char *dsn, const char *name,
	const char *class, const char *text)
{
	keep_reply(r, &r->effects->defer_if_reject, 450, dsn, name, class, text);
}

enum restrict_verdict
restrict_table_failed(struct restrict_run *r, const char *name, const char *class)
{
	return restrict_reject(r, 451, "4.3.5", name, class, "Server configuration error");
}

/* ---- what checks have in common ---- */

const char *
restrict_domain(const char *address)
{
	const char *at = address ? strrchr(address, '@') : NULL;

	return at && at[1] ? at + 1 : NULL;
}

const char *
restrict_client_text(struct restrict_run *r, struct buf *space)
{
	buf_reset(space);
	buf_printf(space, "%s[%s]", r->host->names(r->host->arg)->name, r->facts->client_ip);
	return buf_cstr(space);
}

const char *
restrict_stage_class(const struct restrict_run *r)
{
	switch (r->stage) {
	case RESTRICT_CLIENT:
		return restrict_class_client;
	case RESTRICT_HELO:
		return restrict_class_helo;
	case RESTRICT_SENDER:
		return restrict_class_sender;
	case RESTRICT_DATA:
		return restrict_class_data;
	case RESTRICT_END_OF_DATA:
		return restrict_class_end;
	case RESTRICT_ETRN:
		return restrict_class_etrn;
	default:
		return restrict_class_recipient;
	}
}

const char *
restrict_stage_name(const struct restrict_run *r, struct buf *space)
{
	const struct restrict_facts *f = r->facts;
	const char *name = NULL;

	switch (r->stage) {
	case RESTRICT_CLIENT:
		return restrict_client_text((struct restrict_run *)r, space);
	case RESTRICT_HELO:
		name = f->helo;
		break;
	case RESTRICT_SENDER:
		name = f->sender;
		break;
	case RESTRICT_DATA:
		name = "DATA";
		break;
	case RESTRICT_END_OF_DATA:
		name = "END-OF-MESSAGE";
		break;
	case RESTRICT_ETRN:
		name = f->etrn;
		break;
	default:
		name = f->recipient;
		break;
	}
	return name ? name : "";
}

int
restrict_in_mynetworks(const struct restrict_run *r)
{
	const struct conf_list *list = &r->set->conf->mynetworks;

	return net_in_networks(list->items, list->count, r->facts->client);
}
