/* SPDX-License-Identifier: MIT */
#include "index_core_user.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/mem.h"

static const char *const defaults[] = {"Drafts", "Sent", "Junk", "Trash", "Archive", NULL};

static void
on_change(uint32_t mailbox, uint64_t modseq, void *arg)
{
	struct fixture *f = arg;

	(void)modseq;
	f->changes++;
	f->last_changed = mailbox;
}

void
reopen(struct fixture *f)
{
	assert_int_equal(index_core_open(&f->o, &f->c), OK);
}

int
core_user_setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/tmp/roost-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->maildir = mem_printf("%s/Maildir", f->dir);
	f->index_dir = mem_printf("%s/index", f->dir);
	f->o = (struct index_core_options){.maildir = f->maildir,
		.index_dir = f->index_dir,
		.host = "mail.example.test",
		.boot_id = "boot-1",
		.default_mailboxes = defaults,
		.map_size = 1 << 20,
		.on_change = on_change,
		.arg = f};
	reopen(f);
	*state = f;
	return 0;
}

void
run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

int
core_user_teardown(void **state)
{
	struct fixture *f = *state;

	index_core_close(&f->c, 0);
	run("rm -rf %s", f->dir);
	free(f->maildir);
	free(f->index_dir);
	free(f);
	return 0;
}

void
close_core(struct fixture *f)
{
	while (index_core_background(f->c))
		;
	index_core_close(&f->c, 0);
}

void
rebuild(struct fixture *f)
{
	close_core(f);
	run("rm -rf %s", f->index_dir);
	reopen(f);
}

uint32_t
box_id(struct fixture *f, const char *name)
{
	uint32_t id;

	assert_int_equal(index_core_lookup(f->c, str_of(name), &id), OK);
	return id;
}

/* ---- looking into the index ---- */

static enum err
peek_step(struct core_tx *tx, void *arg)
{
	struct peek *p = arg;
	enum err e = core_box_get(tx, p->mailbox, &p->box);

	if (e)
		return e;
	if (p->uid)
		p->found = core_message_get(tx, p->mailbox, p->uid, &p->m);
	return core_keywords_get(tx, p->mailbox, p->names);
}

struct peek
peek(struct fixture *f, uint32_t mailbox, uint32_t uid)
{
	struct peek p = {.mailbox = mailbox, .uid = uid};

	assert_int_equal(core_read(f->c, peek_step, &p), OK);
	p.m.r.name.p = p.m.name;
	p.box.r.name.p = p.box.name;
	p.box.r.dir.p = p.box.dir;
	return p;
}

int
has_keyword(const struct peek *p, const char *name)
{
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++)
		if (strcmp(p->names[i], name) == 0)
			return (int)(p->m.r.keywords.bits[i / 64] >> (i % 64) & 1);
	return 0;
}

/* Every count must be what the messages themselves say. */
struct sums {
	struct core_box b;
	uint32_t mailbox, messages, unseen, deleted, unparsed;
	uint64_t disk;
};

static enum err
sum_one(struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct sums *s = arg;

	(void)tx;
	(void)b;
	(void)uid;
	s->messages++;
	s->unseen += !(m->r.flags & INDEX_SEEN);
	s->deleted += (m->r.flags & INDEX_DELETED) != 0;
	s->disk += m->r.disk_size;
	s->unparsed += index_message_is_unparsed(&m->r) ? 1 : 0;
	return OK;
}

static enum err
sum_step(struct core_tx *tx, void *arg)
{
	struct sums *s = arg;
	enum err e = core_box_get(tx, s->mailbox, &s->b);

	return e ? e : core_each(tx, &s->b, NULL, sum_one, s);
}

/* The user's totals are what the mailboxes say. */
static enum err
totals_step(struct core_tx *tx, void *arg)
{
	struct index_state *sum = arg;
	struct core_box *boxes = NULL;
	size_t count = 0;
	enum err e = core_box_list(tx, &boxes, &count);

	for (size_t i = 0; i < count; i++) {
		const struct index_mailbox_record *r = &boxes[i].r;

		sum->messages += r->messages;
		sum->bytes += r->disk_bytes;
		sum->unparsed += r->unparsed;
		sum->ignored_messages += r->quota_ignore ? r->messages : 0;
		sum->ignored_bytes += r->quota_ignore ? r->disk_bytes : 0;
	}
	free(boxes);
	return e;
}

static void
check_totals(struct fixture *f)
{
	struct index_state sum = {0};

	assert_int_equal(core_read(f->c, totals_step, &sum), OK);
	assert_int_equal(f->c->state.messages, sum.messages);
	assert_int_equal(f->c->state.bytes, sum.bytes);
	assert_int_equal(f->c->state.unparsed, sum.unparsed);
	assert_int_equal(f->c->state.ignored_messages, sum.ignored_messages);
	assert_int_equal(f->c->state.ignored_bytes, sum.ignored_bytes);
}

void
check_counts(struct fixture *f, uint32_t mailbox)
{
	struct sums s = {.mailbox = mailbox};

	assert_int_equal(core_read(f->c, sum_step, &s), OK);
	assert_int_equal(s.b.r.messages, s.messages);
	assert_int_equal(s.b.r.unseen, s.unseen);
	assert_int_equal(s.b.r.deleted, s.deleted);
	assert_int_equal(s.b.r.disk_bytes, s.disk);
	assert_int_equal(s.b.r.unparsed, s.unparsed);
	check_totals(f);
}

int
count_files(struct fixture *f, const char *below)
{
	char path[512];
	struct dirent *d;
	int n = 0;
	DIR *dirp;

	snprintf(path, sizeof(path), "%s/%s", f->maildir, below);
	dirp = opendir(path);
	assert_non_null(dirp);
	while ((d = readdir(dirp)))
		n += d->d_name[0] != '.';
	closedir(dirp);
	return n;
}

/* ---- doing things ---- */

void
write_file(struct fixture *f, const char *path, const char *text)
{
	char full[1024];
	FILE *fp;

	snprintf(full, sizeof(full), "%s/%s", f->maildir, path);
	fp = fopen(full, "w");
	assert_non_null(fp);
	fputs(text, fp);
	fclose(fp);
}

enum err
try_append(struct fixture *f, uint32_t mailbox, const char *dir, unsigned flags,
	const char *const *keywords, uint32_t *uid)
{
	static const char text[] = "Subject: test\n\nbody\n";
	struct str words[64];
	struct index_core_append m = {.tmp_name = STR("in-the-making"),
		.flags = flags,
		.keywords = words,
		.size = sizeof(text) - 1 + 3,
		.cache = STR("a cache record")};
	char path[300];
	uint32_t uidvalidity;
	uint64_t modseq;

	for (; keywords && keywords[m.keyword_count]; m.keyword_count++)
		words[m.keyword_count] = str_of(keywords[m.keyword_count]);
	snprintf(path, sizeof(path), "%s%stmp/in-the-making", dir, dir[0] ? "/" : "");
	write_file(f, path, text);
	return index_core_append(f->c, mailbox, &m, 1, &uidvalidity, &modseq, uid);
}

uint32_t
append(struct fixture *f, const char *name, unsigned flags, const char *const *keywords)
{
	char dir[300] = "";
	uint32_t uid;

	if (strcmp(name, "INBOX") != 0)
		snprintf(dir, sizeof(dir), ".%s", name);
	assert_int_equal(try_append(f, box_id(f, name), dir, flags, keywords, &uid), OK);
	return uid;
}

uint32_t
append_dir(struct fixture *f, const char *name, const char *dir)
{
	uint32_t uid;

	assert_int_equal(try_append(f, box_id(f, name), dir, 0, NULL, &uid), OK);
	return uid;
}

struct numset
set(uint32_t first, uint32_t last)
{
	struct numset s = {0};

	numset_add_range(&s, first, last);
	return s;
}

enum err
store(struct fixture *f, uint32_t mailbox, uint32_t first, uint32_t last, enum index_store_op op,
	unsigned flags, const char *keyword)
{
	struct numset uids = set(first, last), conflicts = {0};
	struct str word = str_of(keyword);
	struct index_core_store s = {.uids = &uids,
		.op = op,
		.flags = flags,
		.keywords = &word,
		.keyword_count = keyword != NULL,
		.unchanged_since = UINT64_MAX};
	uint64_t modseq;
	enum err e = index_core_store(f->c, mailbox, &s, &conflicts, &modseq);

	numset_free(&uids);
	numset_free(&conflicts);
	return e;
}

void
age(struct fixture *f, const char *below)
{
	run("touch -d '2001-02-03 04:05:06' %s/%s", f->maildir, below);
}
