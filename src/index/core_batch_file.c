/* SPDX-License-Identifier: MIT */
#include "index/core_batch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem.h"

static const char first_line[] = "roost 1\n";
static const char *const kinds[] = {"append", "copy", "move"};

/* ---- writing ---- */

static void
folder_line(struct core_batch_text *t, const char *word, const struct core_box *b)
{
	buf_printf(&t->text, "%s\t%u\t%s\n", word, b->r.uidvalidity, b->dir);
	t->lines++;
}

void
core_batch_from(struct core_batch_text *t, const struct core_box *b)
{
	folder_line(t, "from", b);
}

void
core_batch_to(struct core_batch_text *t, const struct core_box *b)
{
	folder_line(t, "to", b);
}

static const char *
src_sub(const struct core_batch_message *m)
{
	if (m->kind == CORE_BATCH_APPEND)
		return "tmp/";
	return m->src_in_new ? "new/" : "cur/";
}

void
core_batch_message(struct core_batch_text *t, const struct core_batch_message *m)
{
	buf_add_cstr(&t->text, kinds[m->kind]);
	buf_add_char(&t->text, '\t');
	buf_add_u64(&t->text, m->uid);
	buf_add_char(&t->text, '\t');
	buf_add_cstr(&t->text, src_sub(m));
	buf_add_str(&t->text, m->src);
	buf_add_cstr(&t->text, m->dst_in_new ? "\tnew/" : "\tcur/");
	buf_add_str(&t->text, m->dst);
	buf_add_char(&t->text, '\n');
	t->lines++;
}

void
core_batch_replaced(struct core_batch_text *t, uint32_t uid)
{
	buf_printf(&t->text, "replaced\t%u\n", uid);
	t->lines++;
}

void
core_batch_rename(struct core_batch_text *t, const struct core_batch_rename *r)
{
	buf_printf(&t->text, "rename\t%u\t%.*s\t%.*s\n", r->uidvalidity, STR_ARG(r->dir),
		STR_ARG(r->new_dir));
	t->lines++;
}

void
core_batch_text_end(struct core_batch_text *t)
{
	struct buf whole = {0};

	buf_add_cstr(&whole, first_line);
	buf_add_buf(&whole, &t->text);
	buf_printf(&whole, "end\t%zu\n", t->lines);
	buf_free(&t->text);
	t->text = whole;
}

/* ---- reading ---- */

/* "" is INBOX's; any other is one name. */
static int
is_folder(struct str dir)
{
	return dir.len == 0 ||
	       (dir.len <= MAILDIR_NAME_MAX && dir.len > 1 && dir.p[0] == '.' && dir.p[1] != '.' &&
		       str_find(dir, 0, '/') == dir.len && !str_has_control(dir));
}

/* Takes "new/" off. *is_tmp: it was "tmp/". */
static enum err
get_place(struct str field, int *in_new, int *is_tmp, struct str *name)
{
	struct str sub = str_split(&field, '/');

	*in_new = str_is(sub, "new");
	*is_tmp = str_is(sub, "tmp");
	if (!*in_new && !*is_tmp && !str_is(sub, "cur"))
		return E_CORRUPT;
	if (!field.p || field.len == 0 || field.len > MAILDIR_NAME_MAX || field.p[0] == '.' ||
		str_find(field, 0, '/') != field.len || str_has_control(field))
		return E_CORRUPT;
	*name = field;
	return OK;
}

static enum err
get_message(struct core_batch_plan *p, enum core_batch_kind kind, struct str rest)
{
	struct core_batch_message m = {.kind = kind};
	int src_is_tmp = 0, dst_is_tmp = 0;
	enum err e = str_to_u32(str_split(&rest, '\t'), &m.uid);

	if (e == OK)
		e = get_place(str_split(&rest, '\t'), &m.src_in_new, &src_is_tmp, &m.src);
	if (e == OK)
		e = get_place(str_split(&rest, '\t'), &m.dst_in_new, &dst_is_tmp, &m.dst);
	if (e || rest.p || m.uid == 0 || dst_is_tmp || src_is_tmp != (kind == CORE_BATCH_APPEND))
		return E_CORRUPT;
	if (p->message_count == p->message_cap) {
		p->message_cap = p->message_cap ? p->message_cap * 2 : 16;
		p->messages = mem_realloc(p->messages, p->message_cap, sizeof(*p->messages));
	}
	p->messages[p->message_count++] = m;
	return OK;
}

static enum err
get_folder(struct core_batch_folder *f, struct str rest)
{
	enum err e = str_to_u32(str_split(&rest, '\t'), &f->uidvalidity);

	f->dir = str_split(&rest, '\t');
	return e || rest.p || !f->dir.p || f->uidvalidity == 0 || !is_folder(f->dir) ? E_CORRUPT
										     : OK;
}

static enum err
get_rename(struct core_batch_plan *p, struct str rest)
{
	struct core_batch_rename r;
	enum err e = str_to_u32(str_split(&rest, '\t'), &r.uidvalidity);

	r.dir = str_split(&rest, '\t');
	r.new_dir = str_split(&rest, '\t');
	if (e || rest.p || r.uidvalidity == 0 || r.dir.len == 0 || r.new_dir.len == 0 ||
		!is_folder(r.dir) || !is_folder(r.new_dir))
		return E_CORRUPT;
	if (p->rename_count == p->rename_cap) {
		p->rename_cap = p->rename_cap ? p->rename_cap * 2 : 16;
		p->renames = mem_realloc(p->renames, p->rename_cap, sizeof(*p->renames));
	}
	p->renames[p->rename_count++] = r;
	return OK;
}

static enum err
get_line(struct core_batch_plan *p, struct str word, struct str rest)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (str_is(word, kinds[i]))
			return get_message(p, (enum core_batch_kind)i, rest);
	if (str_is(word, "from"))
		return get_folder(&p->from, rest);
	if (str_is(word, "to"))
		return get_folder(&p->to, rest);
	if (str_is(word, "replaced"))
		return str_to_u32(rest, &p->replaced) ? E_CORRUPT : OK;
	return str_is(word, "rename") ? get_rename(p, rest) : E_CORRUPT;
}

/* What a line needs of the others. */
static int
is_complete(const struct core_batch_plan *p)
{
	int needs_from = p->replaced != 0;

	for (size_t i = 0; i < p->message_count; i++)
		needs_from |= p->messages[i].kind != CORE_BATCH_APPEND;
	return (!p->message_count || p->to.uidvalidity) && (!needs_from || p->from.uidvalidity);
}

enum err
core_batch_parse(struct str text, struct core_batch_plan *out)
{
	struct str first = str_split(&text, '\n');
	enum err e = str_is(first, "roost 1") ? OK : E_CORRUPT;
	uint32_t lines = 0, said = 0;
	int ended = 0;

	*out = (struct core_batch_plan){0};
	while (e == OK && !ended && text.p && text.len) {
		struct str line = str_split(&text, '\n'), word = str_split(&line, '\t');

		ended = str_is(word, "end");
		if (ended)
			e = str_to_u32(line, &said);
		else
			e = get_line(out, word, line);
		lines += !ended;
	}
	/* The line end of the last line tells that it is whole. */
	if (e || !ended || said != lines || !text.p || text.len || !is_complete(out)) {
		core_batch_plan_free(out);
		return E_CORRUPT;
	}
	return OK;
}

void
core_batch_plan_free(struct core_batch_plan *p)
{
	free(p->messages);
	free(p->renames);
	*p = (struct core_batch_plan){0};
}
