/* SPDX-License-Identifier: MIT */
#include "index/index_core.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/core_private.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- a user in a directory of its own ---- */

struct fixture {
	char dir[64], *maildir, *index_dir;
	struct index_core_options o;
	struct index_core *c;
	unsigned changes;
	uint32_t last_changed;
};

static const char *const defaults[] = {"Drafts", "Sent", "Junk", "Trash", "Archive", NULL};

static void
on_change(uint32_t mailbox, uint64_t modseq, void *arg)
{
	struct fixture *f = arg;

	(void)modseq;
	f->changes++;
	f->last_changed = mailbox;
}

static void
reopen(struct fixture *f)
{
	assert_int_equal(index_core_open(&f->o, &f->c), OK);
}

static int
setup(void **state)
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

static void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	index_core_close(&f->c, 0);
	run("rm -rf %s", f->dir);
	free(f->maildir);
	free(f->index_dir);
	free(f);
	return 0;
}

static void
close_core(struct fixture *f)
{
	while (index_core_background(f->c))
		;
	index_core_close(&f->c, 0);
}

static void
rebuild(struct fixture *f)
{
	close_core(f);
	run("rm -rf %s", f->index_dir);
	reopen(f);
}

static uint32_t
box_id(struct fixture *f, const char *name)
{
	uint32_t id;

	assert_int_equal(index_core_lookup(f->c, str_of(name), &id), OK);
	return id;
}

/* ---- looking into the index ---- */

struct peek {
	uint32_t mailbox, uid;
	struct core_box box;
	struct core_message m;
	enum err found;
	char names[INDEX_KEYWORDS_MAX][INDEX_KEYWORD_LEN_MAX + 1];
};

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

static struct peek
peek(struct fixture *f, uint32_t mailbox, uint32_t uid)
{
	struct peek p = {.mailbox = mailbox, .uid = uid};

	assert_int_equal(core_read(f->c, peek_step, &p), OK);
	p.m.r.name.p = p.m.name;
	p.box.r.name.p = p.box.name;
	p.box.r.dir.p = p.box.dir;
	return p;
}

static int
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
	uint32_t mailbox, messages, unseen, deleted;
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
	return OK;
}

static enum err
sum_step(struct core_tx *tx, void *arg)
{
	struct sums *s = arg;
	enum err e = core_box_get(tx, s->mailbox, &s->b);

	return e ? e : core_each(tx, &s->b, NULL, sum_one, s);
}

static void
check_counts(struct fixture *f, uint32_t mailbox)
{
	struct sums s = {.mailbox = mailbox};

	assert_int_equal(core_read(f->c, sum_step, &s), OK);
	assert_int_equal(s.b.r.messages, s.messages);
	assert_int_equal(s.b.r.unseen, s.unseen);
	assert_int_equal(s.b.r.deleted, s.deleted);
	assert_int_equal(s.b.r.disk_bytes, s.disk);
}

static int
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

static void
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

static enum err
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

static uint32_t
append(struct fixture *f, const char *name, unsigned flags, const char *const *keywords)
{
	char dir[300] = "";
	uint32_t uid;

	if (strcmp(name, "INBOX") != 0)
		snprintf(dir, sizeof(dir), ".%s", name);
	assert_int_equal(try_append(f, box_id(f, name), dir, flags, keywords, &uid), OK);
	return uid;
}

static uint32_t
append_dir(struct fixture *f, const char *name, const char *dir)
{
	uint32_t uid;

	assert_int_equal(try_append(f, box_id(f, name), dir, 0, NULL, &uid), OK);
	return uid;
}

static struct numset
set(uint32_t first, uint32_t last)
{
	struct numset s = {0};

	numset_add_range(&s, first, last);
	return s;
}

static enum err
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

/* Lets the clock of the file system tick, so that a change of another program shows. */
static void
age(struct fixture *f, const char *below)
{
	run("touch -d '2001-02-03 04:05:06' %s/%s", f->maildir, below);
}

/* ---- tests ---- */

static void
test_new_user(void **state)
{
	struct fixture *f = *state;
	struct peek p = peek(f, box_id(f, "Sent"), 0);

	assert_int_equal(p.box.r.special_use, INDEX_USE_SENT);
	assert_string_equal(p.box.dir, ".Sent");
	assert_int_equal(p.box.r.uidnext, 1);
	assert_int_equal(count_files(f, ".Sent/cur"), 0);
	p = peek(f, box_id(f, "inbox"), 0);
	assert_string_equal(p.box.name, "INBOX");
	run("grep -qx Archive %s/subscriptions", f->maildir);
	run("grep -qx 'trash Trash' %s/roost-special-use", f->maildir);
	/* The second time nothing is made again. */
	assert_int_equal(index_core_delete(f->c, STR("Trash")), OK);
	rebuild(f);
	uint32_t id;
	assert_int_equal(index_core_lookup(f->c, STR("Trash"), &id), E_NOTFOUND);
}

static void
test_append(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	assert_int_equal(append(f, "INBOX", 0, NULL), 1);
	assert_int_equal(append(f, "INBOX", INDEX_SEEN | INDEX_FLAGGED, NULL), 2);
	assert_int_equal(f->last_changed, inbox);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(p.m.r.disk_size, 20);
	assert_non_null(strstr(p.m.name, ",S=20,W=23,U=1"));
	p = peek(f, inbox, 2);
	assert_int_equal(p.m.r.in_new, 0);
	assert_non_null(strstr(p.m.name, ",U=2:2,FS"));
	assert_int_equal(p.box.r.messages, 2);
	assert_int_equal(p.box.r.unseen, 1);
	assert_int_equal(p.box.r.uidnext, 3);
	assert_int_equal(count_files(f, "tmp"), 0);
	check_counts(f, inbox);
}

static void
test_append_bad_names(void **state)
{
	static const char *const names[] = {"", "../cur/x", "a/b", ".hidden", "no\nsuch"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct index_core_append m = {.tmp_name = str_of(names[i])};
		uint32_t v, uid;
		uint64_t modseq;

		assert_int_equal(
			index_core_append(f->c, box_id(f, "INBOX"), &m, 1, &v, &modseq, &uid),
			E_RANGE);
	}
	struct index_core_append missing = {.tmp_name = STR("missing")};
	uint32_t v, uid;
	uint64_t modseq;

	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), &missing, 1, &v, &modseq, &uid),
		E_NOTFOUND);
	run("ln -s /etc/passwd %s/tmp/missing", f->maildir);
	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), &missing, 1, &v, &modseq, &uid),
		E_RANGE);
}

static void
test_append_all_or_none(void **state)
{
	struct fixture *f = *state;
	struct index_core_append m[2] = {{.tmp_name = STR("one")}, {.tmp_name = STR("two")}};
	uint32_t v, uid;
	uint64_t modseq;

	write_file(f, "tmp/one", "x\n");
	assert_int_equal(
		index_core_append(f->c, box_id(f, "INBOX"), m, 2, &v, &modseq, &uid), E_NOTFOUND);
	assert_int_equal(count_files(f, "tmp"), 1);
	assert_int_equal(count_files(f, "new"), 0);
	write_file(f, "tmp/two", "y\n");
	assert_int_equal(index_core_append(f->c, box_id(f, "INBOX"), m, 2, &v, &modseq, &uid), OK);
	assert_int_equal(uid, 1);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 2).found, OK);
}

static void
test_store_and_names(void **state)
{
	static const char *const two[] = {"$Forwarded", "Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, two);
	before = peek(f, inbox, 1).m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 2, INDEX_STORE_ADD, INDEX_SEEN, "Work"), OK);
	p = peek(f, inbox, 1);
	assert_true(p.m.r.modseq > before);
	assert_int_equal(p.m.r.flags, INDEX_SEEN);
	assert_true(has_keyword(&p, "Work"));
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(index_core_pending(f->c), 2);
	while (index_core_background(f->c))
		;
	assert_int_equal(index_core_pending(f->c), 0);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.in_new, 0);
	assert_non_null(strstr(p.m.name, ",U=1:2,Sb"));
	assert_int_equal(count_files(f, "cur"), 2);
	run("grep -qx '0 $Forwarded' %s/roost-keywords", f->maildir);
	/* Nothing changed: no new modseq. */
	before = p.m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_SEEN, NULL), OK);
	assert_int_equal(peek(f, inbox, 1).m.r.modseq, before);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_REPLACE, INDEX_DRAFT, NULL), OK);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_DRAFT);
	assert_int_equal(p.m.r.keywords.bits[0], 0);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, "bad word"), E_RANGE);
	check_counts(f, inbox);
}

static void
test_unchanged_since(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset uids = set(1, 2), conflicts = {0};
	struct index_core_store s = {.uids = &uids, .flags = INDEX_SEEN};
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	s.unchanged_since = peek(f, inbox, 2).m.r.modseq;
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	assert_int_equal(index_core_store(f->c, inbox, &s, &conflicts, &modseq), OK);
	assert_int_equal(numset_size(&conflicts), 1);
	assert_true(numset_contains(&conflicts, 1));
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_FLAGGED);
	assert_int_equal(peek(f, inbox, 2).m.r.flags, INDEX_SEEN);
	numset_free(&uids);
	numset_free(&conflicts);
}

static void
test_expunge(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct numset gone = {0}, one = set(1, 1);
	uint64_t modseq;

	for (int i = 0; i < 4; i++)
		append(f, "INBOX", i == 2 ? INDEX_DELETED : 0, NULL);
	assert_int_equal(index_core_expunge(f->c, inbox, NULL, 0, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 1);
	assert_true(numset_contains(&gone, 3));
	assert_int_equal(index_core_expunge(f->c, inbox, &one, 0, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 0);
	assert_int_equal(index_core_expunge(f->c, inbox, &one, 1, &gone, &modseq), OK);
	assert_int_equal(numset_size(&gone), 1);
	assert_int_equal(peek(f, inbox, 1).found, E_NOTFOUND);
	assert_int_equal(peek(f, inbox, 0).box.r.vanished, 2);
	assert_int_equal(count_files(f, "new") + count_files(f, "cur"), 2);
	/* A UID does not come back. */
	assert_int_equal(append(f, "INBOX", 0, NULL), 5);
	check_counts(f, inbox);
	numset_free(&gone);
	numset_free(&one);
}

static void
test_rebuild_is_the_same(void **state)
{
	static const char *const words[] = {"$Forwarded", "Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), sent = box_id(f, "Sent");
	struct peek before[4], after;
	struct numset gone = {0}, two = set(2, 2);
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", INDEX_SEEN | INDEX_ANSWERED, words);
	append(f, "Sent", INDEX_SEEN, words + 1);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, "Work"), OK);
	assert_int_equal(index_core_expunge(f->c, inbox, &two, 1, &gone, &modseq), OK);
	before[1] = peek(f, inbox, 1);
	before[3] = peek(f, inbox, 3);
	before[0] = peek(f, sent, 1);
	rebuild(f);
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		after = peek(f, i ? inbox : sent, i ? (uint32_t)i : 1);
		assert_int_equal(after.found, OK);
		assert_int_equal(after.box.r.uidvalidity, before[i].box.r.uidvalidity);
		assert_memory_equal(after.box.r.object_id, before[i].box.r.object_id, 16);
		assert_int_equal(after.m.r.flags, before[i].m.r.flags);
		assert_int_equal(after.m.r.size, before[i].m.r.size);
		assert_int_equal(after.m.r.disk_size, before[i].m.r.disk_size);
		assert_int_equal(after.m.r.save_date, before[i].m.r.save_date);
		assert_int_equal(has_keyword(&after, "Work"), 1);
		assert_true(after.m.r.modseq > before[i].m.r.modseq);
	}
	assert_int_equal(peek(f, inbox, 2).found, E_NOTFOUND);
	/* UIDs go on above all that can ever have been given. */
	assert_true(append(f, "INBOX", 0, NULL) >= 4);
	check_counts(f, inbox);
	numset_free(&gone);
	numset_free(&two);
}

static void
test_many_keywords(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	char word[32];
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, word), OK);
	}
	assert_int_equal(store(f, inbox, 2, 2, INDEX_STORE_ADD, 0, "word-127"), OK);
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, 0, "one-more"), E_TOOBIG);
	rebuild(f);
	p = peek(f, inbox, 1);
	for (int i = 0; i < INDEX_KEYWORDS_MAX; i++) {
		snprintf(word, sizeof(word), "word-%d", i);
		assert_true(has_keyword(&p, word));
	}
	p = peek(f, inbox, 2);
	assert_true(has_keyword(&p, "word-127"));
	assert_false(has_keyword(&p, "word-3"));
	assert_false(has_keyword(&p, "word-126"));
}

static void
test_foreign_changes(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t before;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", INDEX_SEEN, NULL);
	/* A delivery without a UID, read by another program, and one with somebody's UID. */
	write_file(f, "new/1700000000.M1P1.other.example", "Subject: x\n\nhello\n");
	write_file(f, "cur/1600000000.M1P1.other.example,U=1:2,SPz", "Subject: y\n\nhello\n");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	p = peek(f, inbox, 3);
	assert_int_equal(p.m.r.flags, INDEX_SEEN);
	assert_int_equal(p.m.r.save_date, 1600000000);
	assert_non_null(strstr(p.m.name, ",S=18,U=3:2,PSz"));
	assert_int_equal(p.m.r.keywords.bits[0], 0);
	p = peek(f, inbox, 4);
	assert_int_equal(p.m.r.in_new, 1);
	assert_int_equal(p.m.r.size, INDEX_SIZE_UNKNOWN);
	assert_int_equal(p.box.r.messages, 4);

	/* Another program flags 1, moves it to cur/, and removes 2. */
	before = peek(f, inbox, 1).m.r.modseq;
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,F'", f->maildir, p.m.name, f->maildir, p.m.name);
	p = peek(f, inbox, 2);
	run("rm '%s/cur/%s'", f->maildir, p.m.name);
	age(f, "cur");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_int_equal(p.m.r.in_new, 0);
	assert_true(p.m.r.modseq > before);
	assert_int_equal(peek(f, inbox, 2).found, E_NOTFOUND);
	check_counts(f, inbox);
}

static void
test_flags_of_both_sides(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", INDEX_SEEN, NULL);
	p = peek(f, inbox, 1);
	/* Ours is in the index only yet; another program renames the file meanwhile. */
	assert_int_equal(store(f, inbox, 1, 1, INDEX_STORE_ADD, INDEX_FLAGGED, NULL), OK);
	run("mv '%s/cur/%s' '%s/cur/%.*s:2,RS'", f->maildir, p.m.name, f->maildir,
		(int)p.m.r.base_len, p.m.name);
	age(f, "cur");
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	while (index_core_background(f->c))
		;
	p = peek(f, inbox, 1);
	assert_int_equal(p.m.r.flags, INDEX_SEEN | INDEX_FLAGGED | INDEX_ANSWERED);
	assert_non_null(strstr(p.m.name, ":2,FRS"));
}

static void
test_hostile_files(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	char longest[256];

	run("ln -s /etc/passwd '%s/cur/1.link:2,S'", f->maildir);
	run("mkfifo '%s/cur/2.fifo:2,S'", f->maildir);
	run("mkdir '%s/new/3.dir'", f->maildir);
	run("touch '%s/new/.hidden'", f->maildir);
	memset(longest, 'x', sizeof(longest));
	longest[255] = '\0';
	run("touch '%s/new/%s'", f->maildir, longest);
	longest[210] = '\0';
	run("touch '%s/new/%s'", f->maildir, longest);
	run("touch '%s/cur/4.x,U=4294967295,S=99999999999999999999999:2,'", f->maildir);
	run("touch '%s/cur/5.x,U=0,U=-1,W=x:2,SSSS'", f->maildir);
	run("touch '%s/cur/'$(printf '6.ctl\\001x')", f->maildir);
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 3);
	for (uint32_t uid = 1; uid <= 3; uid++)
		assert_int_equal(peek(f, inbox, uid).found, OK);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 0).box.r.messages, 3);
}

static void
test_duplicate_uid(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	p = peek(f, inbox, 1);
	run("cp '%s/new/%s' '%s/cur/0.copy,S=20,U=1:2,'", f->maildir, p.m.name, f->maildir);
	rebuild(f);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 3);
	assert_int_equal(peek(f, inbox, 1).found, OK);
	assert_int_equal(peek(f, inbox, 2).found, OK);
	check_counts(f, inbox);
}

static void
test_crash_between_file_and_index(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");

	append(f, "INBOX", 0, NULL);
	/* The process died behind the rename of UID 2: nobody has heard of it. */
	index_core_close(&f->c, 0);
	write_file(f, "new/1700000000.M1P1Q1.mail.example.test,S=2,W=3,U=2", "x\n");
	reopen(f);
	assert_int_equal(peek(f, inbox, 2).found, OK);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
	check_counts(f, inbox);
}

static void
test_crash_with_pending(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(store(f, inbox, 1, 2, INDEX_STORE_ADD, INDEX_SEEN, NULL), OK);
	/* One rename was done, its record was not. */
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,S'", f->maildir, p.m.name, f->maildir, p.m.name);
	index_core_close(&f->c, 0);
	reopen(f);
	assert_int_equal(index_core_pending(f->c) > 0, 1);
	while (index_core_background(f->c))
		;
	for (uint32_t uid = 1; uid <= 2; uid++) {
		p = peek(f, inbox, uid);
		assert_int_equal(p.m.r.flags, INDEX_SEEN);
		assert_non_null(strstr(p.m.name, ":2,S"));
		assert_int_equal(p.m.r.in_new, 0);
	}
	assert_int_equal(count_files(f, "cur"), 2);
	check_counts(f, inbox);
}

static void
test_boots(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uid;
	uint64_t modseq;

	append(f, "INBOX", 0, NULL);
	modseq = peek(f, inbox, 1).m.r.modseq;
	/* In order: the index is kept over a restart of the system. */
	while (index_core_background(f->c))
		;
	index_core_close(&f->c, 1);
	f->o.boot_id = "boot-2";
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).m.r.modseq, modseq);
	assert_int_equal(append(f, "INBOX", 0, NULL), 2);
	/* Not in order, after a change: it is not believed. */
	index_core_close(&f->c, 0);
	f->o.boot_id = "boot-3";
	reopen(f);
	assert_true(peek(f, inbox, 1).m.r.modseq > modseq);
	uid = append(f, "INBOX", 0, NULL);
	assert_true(uid > 1000);
	assert_int_equal(peek(f, inbox, 2).found, OK);
}

static void
test_copy_and_move(void **state)
{
	static const char *const words[] = {"Work", NULL};
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), sent = box_id(f, "Sent"), uidvalidity;
	struct index_core_pair *pairs;
	struct numset uids = set(1, UINT32_MAX);
	struct peek p;
	size_t n;

	append(f, "Sent", 0, (const char *const[]){"Other", NULL});
	append(f, "INBOX", INDEX_FLAGGED, words);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(
		index_core_copy(f->c, inbox, sent, &uids, 0, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 2);
	assert_int_equal(pairs[0].src, 1);
	assert_int_equal(pairs[0].dst, 2);
	free(pairs);
	p = peek(f, sent, 2);
	assert_int_equal(uidvalidity, p.box.r.uidvalidity);
	assert_int_equal(p.m.r.flags, INDEX_FLAGGED);
	assert_true(has_keyword(&p, "Work"));
	assert_false(has_keyword(&p, "Other"));
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 2);
	/* Into itself. */
	assert_int_equal(
		index_core_copy(f->c, inbox, inbox, &uids, 0, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 2);
	assert_int_equal(pairs[1].dst, 4);
	free(pairs);
	assert_int_equal(
		index_core_copy(f->c, inbox, sent, &uids, 1, &uidvalidity, &pairs, &n), OK);
	assert_int_equal(n, 4);
	free(pairs);
	p = peek(f, inbox, 0);
	assert_int_equal(p.box.r.messages, 0);
	assert_int_equal(p.box.r.vanished, 4);
	check_counts(f, sent);
	assert_int_equal(peek(f, sent, 0).box.r.messages, 7);
	assert_int_equal(count_files(f, "cur") + count_files(f, "new"), 0);
	assert_int_equal(index_core_copy(f->c, inbox, 12345, &uids, 0, &uidvalidity, &pairs, &n),
		E_NOTFOUND);
	numset_free(&uids);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "Sent"), 0).box.r.messages, 7);
}

static void
test_folders(void **state)
{
	static const struct {
		const char *name;
		enum err want;
	} cases[] = {
		{"A/B/C", OK},
		{"A", E_EXISTS},
		{"A/B/C", E_EXISTS},
		{"inbox", E_EXISTS},
		{"a.b", E_RANGE},
		{"../x", E_RANGE},
		{"/x", E_RANGE},
		{"x/", E_RANGE},
		{"", E_RANGE},
		{"x//y", E_RANGE},
		{"Entw\xc3\xbcrfe", OK},
		{"bad\xff", E_RANGE},
		{"tab\t", E_RANGE},
		{"Inbox/sub", OK},
		{"a&b", OK},
		{"~%*", OK},
	};
	struct fixture *f = *state;
	uint32_t id, uidvalidity;
	char name[300];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			index_core_create(f->c, str_of(cases[i].name), 0, &id), cases[i].want);
	run("test -d '%s/.A.B' -a -d '%s/.Entw&APw-rfe/cur' -a -d '%s/.INBOX.sub'", f->maildir,
		f->maildir, f->maildir);
	memset(name, 'n', sizeof(name));
	assert_int_equal(
		index_core_create(f->c, str_make(name, INDEX_MAILBOX_NAME_MAX + 1), 0, &id),
		E_TOOBIG);
	assert_int_equal(index_core_delete(f->c, STR("A")), E_EXISTS);
	assert_int_equal(index_core_delete(f->c, STR("INBOX")), E_ACCESS);
	assert_int_equal(index_core_delete(f->c, STR("none")), E_NOTFOUND);
	id = box_id(f, "A/B/C");
	uidvalidity = peek(f, id, 0).box.r.uidvalidity;
	append_dir(f, "A/B/C", ".A.B.C");
	assert_int_equal(index_core_delete(f->c, STR("A/B/C")), OK);
	assert_int_equal(index_core_lookup(f->c, STR("A/B/C"), &id), E_NOTFOUND);
	while (index_core_background(f->c))
		;
	run("test -z \"$(ls -a %s | grep roost-deleted)\"", f->maildir);
	assert_int_equal(index_core_create(f->c, STR("A/B/C"), 0, &id), OK);
	assert_true(peek(f, id, 0).box.r.uidvalidity > uidvalidity);
}

static void
test_rename(void **state)
{
	struct fixture *f = *state;
	uint32_t id, child;

	assert_int_equal(index_core_create(f->c, STR("A/B"), INDEX_USE_FLAGGED, &child), OK);
	append_dir(f, "A/B", ".A.B");
	id = box_id(f, "A");
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("A/B/C")), E_RANGE);
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("Sent")), E_EXISTS);
	assert_int_equal(index_core_rename(f->c, STR("none"), STR("X")), E_NOTFOUND);
	assert_int_equal(index_core_rename(f->c, STR("A"), STR("X/Y")), OK);
	assert_int_equal(box_id(f, "X/Y"), id);
	assert_int_equal(box_id(f, "X/Y/B"), child);
	assert_int_equal(peek(f, child, 1).found, OK);
	run("grep -qx 'flagged X.Y.B' %s/roost-special-use", f->maildir);
	assert_int_equal(count_files(f, ".X.Y.B/new"), 1);
	append_dir(f, "X/Y/B", ".X.Y.B");
	/* INBOX stays. */
	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_rename(f->c, STR("INBOX"), STR("INBOX/old")), OK);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 0).box.r.messages, 0);
	assert_int_equal(peek(f, box_id(f, "INBOX/old"), 0).box.r.messages, 1);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "X/Y/B"), 0).box.r.special_use, INDEX_USE_FLAGGED);
	assert_int_equal(peek(f, box_id(f, "INBOX/old"), 0).box.r.messages, 1);
}

static void
test_foreign_folders(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	run("mkdir -p '%s/.New.Sub/cur' '%s/.New.Sub/new' '%s/.New.Sub/tmp'", f->maildir,
		f->maildir, f->maildir);
	run("mkdir -p '%s/..bad/cur' '%s/.&bad/cur' '%s/.nocur' '%s/.inbox/cur'", f->maildir,
		f->maildir, f->maildir, f->maildir);
	run("ln -s /tmp '%s/.link'", f->maildir);
	run("touch '%s/.New.Sub/new/1.x'", f->maildir);
	run("rm -r '%s/.Junk'", f->maildir);
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	id = box_id(f, "New/Sub");
	assert_int_equal(peek(f, id, 1).found, OK);
	assert_int_equal(index_core_lookup(f->c, STR("Junk"), &id), E_NOTFOUND);
	assert_int_equal(index_core_lookup(f->c, STR(".bad"), &id), E_NOTFOUND);
	assert_int_equal(index_core_lookup(f->c, STR("link"), &id), E_NOTFOUND);
	/* A copied folder is another mailbox. */
	run("cp -r '%s/.New.Sub' '%s/.Twin'", f->maildir, f->maildir);
	assert_int_equal(index_core_refresh(f->c, 0), OK);
	assert_int_not_equal(box_id(f, "Twin"), box_id(f, "New/Sub"));
	assert_int_equal(peek(f, box_id(f, "Twin"), 0).box.r.messages, 1);
}

static void
test_quota(void **state)
{
	struct fixture *f = *state;
	struct index_core_pair *pairs;
	struct numset uids = set(1, 1);
	struct index_quota q;
	uint32_t uid, v;
	size_t n;

	index_core_set_limits(f->c, 45, 0);
	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), E_QUOTA);
	assert_int_equal(index_core_copy(f->c, box_id(f, "INBOX"), box_id(f, "Sent"), &uids, 0, &v,
				 &pairs, &n),
		E_QUOTA);
	assert_int_equal(index_core_copy(f->c, box_id(f, "INBOX"), box_id(f, "Sent"), &uids, 1, &v,
				 &pairs, &n),
		OK);
	free(pairs);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, 40);
	assert_int_equal(q.messages, 2);
	while (index_core_background(f->c))
		;
	run("grep -qx 45S %s/maildirsize", f->maildir);
	run("grep -qx '40 2' %s/maildirsize", f->maildir);
	index_core_set_limits(f->c, 0, 2);
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), E_QUOTA);
	index_core_set_limits(f->c, 0, 3);
	assert_int_equal(try_append(f, box_id(f, "INBOX"), "", 0, NULL, &uid), OK);
	while (index_core_background(f->c))
		;
	run("grep -qx 3C %s/maildirsize", f->maildir);
	numset_free(&uids);
	rebuild(f);
	index_core_quota(f->c, &q);
	assert_int_equal(q.bytes, 60);
}

static void
test_recent(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), first;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 1);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 3);
	while (index_core_background(f->c))
		;
	assert_int_equal(count_files(f, "cur"), 2);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
	assert_int_equal(index_core_claim_recent(f->c, inbox, &first), OK);
	assert_int_equal(first, 3);
}

static void
test_locate(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	struct buf path = {0};
	struct peek p;

	append(f, "INBOX", 0, NULL);
	p = peek(f, inbox, 1);
	run("mv '%s/new/%s' '%s/cur/%s:2,T'", f->maildir, p.m.name, f->maildir, p.m.name);
	assert_int_equal(index_core_locate(f->c, inbox, 1, &path), OK);
	assert_true(str_starts_i(buf_str(&path), "cur/"));
	assert_int_equal(peek(f, inbox, 1).m.r.flags, INDEX_DELETED);
	assert_int_equal(index_core_locate(f->c, inbox, 7, &path), E_NOTFOUND);
	buf_free(&path);
}

static void
test_is_gone(void **state)
{
	struct fixture *f = *state;

	assert_false(index_core_is_gone(f->c));
	run("mv %s/data.mdb %s/other.mdb", f->index_dir, f->index_dir);
	assert_true(index_core_is_gone(f->c));
	run("mv %s/other.mdb %s/data.mdb", f->index_dir, f->index_dir);
	run("mv %s %s.away && mkdir %s", f->maildir, f->maildir, f->maildir);
	assert_true(index_core_is_gone(f->c));
}

/* One transaction that is many times the size of the map, and a bound of ours that is no reason to
 * grow. */
static void
test_large_scan(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");

	run("cd %s/cur && seq -f '%%.0f.M1P1Q1.host,S=5,W=6:2,S' 1600000001 1600010000 | xargs touch",
		f->maildir);
	assert_int_equal(index_core_refresh(f->c, inbox), OK);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 10000);
	assert_int_equal(store(f, inbox, 1, UINT32_MAX, INDEX_STORE_ADD, INDEX_FLAGGED, "x"), OK);
	rebuild(f);
	assert_int_equal(peek(f, box_id(f, "INBOX"), 10000).m.r.flags, INDEX_SEEN | INDEX_FLAGGED);
	check_counts(f, box_id(f, "INBOX"));
}

static void
test_clean_tmp(void **state)
{
	struct fixture *f = *state;

	/* An old date is a message's; how long the file has been there is what counts. */
	run("touch -d '2001-02-03' %s/.Sent/tmp/old", f->maildir);
	index_core_clean_tmp(f->c);
	assert_int_equal(count_files(f, ".Sent/tmp"), 1);
}

static void
test_map_grows(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	size_t size = 300 * 1024;
	char *blob = mem_zalloc(size);

	for (uint32_t uid = 1; uid <= 10; uid++) {
		append(f, "INBOX", 0, NULL);
		assert_int_equal(index_core_cache_put(f->c, inbox, uid, str_make(blob, size)), OK);
	}
	assert_int_equal(index_core_cache_put(f->c, inbox, 99, str_make(blob, size)), E_NOTFOUND);
	free(blob);
	check_counts(f, inbox);
}

static void
test_unwritable(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uid;

	append(f, "INBOX", 0, NULL);
	/* In the way of the delivery: a file where the directory should be. */
	run("mv %s/new %s/gone && touch %s/new", f->maildir, f->maildir, f->maildir);
	assert_int_not_equal(try_append(f, inbox, "", 0, NULL, &uid), OK);
	assert_int_equal(count_files(f, "tmp"), 1);
	assert_int_equal(peek(f, inbox, 0).box.r.messages, 1);
	run("rm %s/new && mv %s/gone %s/new", f->maildir, f->maildir, f->maildir);
	assert_int_equal(try_append(f, inbox, "", 0, NULL, &uid), OK);
	assert_int_equal(uid, 2);
}

static void
test_bad_index(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX");
	uint64_t generation = index_core_generation(f->c);

	append(f, "INBOX", 0, NULL);
	index_core_close(&f->c, 0);
	run("printf garbage > %s/data.mdb", f->index_dir);
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).found, OK);
	assert_true(index_core_generation(f->c) != generation);
	index_core_close(&f->c, 0);
	run("head -c 65536 /dev/urandom > %s/data.mdb; rm %s/lock.mdb", f->index_dir, f->index_dir);
	reopen(f);
	assert_int_equal(peek(f, inbox, 1).found, OK);
}

static void
test_lost_uid_file(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box_id(f, "INBOX"), uidvalidity = peek(f, inbox, 0).box.r.uidvalidity;
	struct peek p;

	append(f, "INBOX", 0, NULL);
	append(f, "INBOX", 0, NULL);
	run("echo nonsense > %s/roost-uidvalidity", f->maildir);
	rebuild(f);
	p = peek(f, box_id(f, "INBOX"), 2);
	assert_int_equal(p.found, OK);
	assert_true(p.box.r.uidvalidity > uidvalidity);
	assert_int_equal(append(f, "INBOX", 0, NULL), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_new_user),
		TEST(test_append),
		TEST(test_append_bad_names),
		TEST(test_append_all_or_none),
		TEST(test_store_and_names),
		TEST(test_unchanged_since),
		TEST(test_expunge),
		TEST(test_rebuild_is_the_same),
		TEST(test_many_keywords),
		TEST(test_foreign_changes),
		TEST(test_flags_of_both_sides),
		TEST(test_hostile_files),
		TEST(test_duplicate_uid),
		TEST(test_crash_between_file_and_index),
		TEST(test_crash_with_pending),
		TEST(test_boots),
		TEST(test_copy_and_move),
		TEST(test_folders),
		TEST(test_rename),
		TEST(test_foreign_folders),
		TEST(test_quota),
		TEST(test_recent),
		TEST(test_locate),
		TEST(test_is_gone),
		TEST(test_large_scan),
		TEST(test_clean_tmp),
		TEST(test_map_grows),
		TEST(test_unwritable),
		TEST(test_bad_index),
		TEST(test_lost_uid_file),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
