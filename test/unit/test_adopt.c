/* SPDX-License-Identifier: MIT */
#include "index/adopt.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/* ---- lists of UIDs ---- */

struct want {
	const char *name; /* to look up */
	uint32_t uid; /* 0: it is not there */
};
struct list_case {
	const char *text;
	enum err err;
	uint32_t uidvalidity, next_uid;
	size_t count, bad;
	struct want want[4];
};

static const struct list_case dovecot_cases[] = {
	{"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
	 "25006 W3010 S3000 :1276528487.M364837P9451.host,S=1355:2,RSab\n"
	 "25017 Pabc.1 O3 Z9 :1276533073.M242911P3632.host\n",
		OK, 1275660208, 25022, 2, 0,
		{{"1276528487.M364837P9451.host,S=1355:2,", 25006},
			/* Fields were added or taken away. */
			{"1276528487.M364837P9451.host,S=1355,W=3010", 25006},
			{"1276533073.M242911P3632.host:2,S", 25017}, {"12765.other:2,S", 0}}},
	/* The header's fields in any order; lines appended beyond N. */
	{"3 N2 V7\n1 :1.a\n5 :2.a,S=3:2,F\n", OK, 7, 6, 2, 0, {{"1.a:2,", 1}, {"2.a", 5}}},
	{"1 1275660208 3\n1 1.a\n2 2.b c:2,S\n", OK, 1275660208, 3, 2, 0,
		{{"1.a", 1}, {"2.b c", 2}}},
	/* Of two lines for a file the later UID; of two files with a UID one. */
	{"3 V7 N9\n1 :1.a\n4 :1.a:2,S\n5 :2.a\n5 :3.a\n", OK, 7, 9, 2, 1,
		{{"1.a", 4}, {"2.a", 5}, {"3.a", 0}}},
	/* Damage: a line is left out, its UID is known all the same. */
	{"3 V7 N1\n1 :1.a\nx\n2\n3 :\n4 :a/b\n:1.b\n0 :2.a\n12345678901 :3.a\n4294967295 :4.a\n-1 :5.a\n"
	 "6 :6.a",
		OK, 7, 7, 1, 10, {{"1.a", 1}, {"6.a", 0}}},
	{"3 V7\n3 :1.a\n", OK, 7, 4, 1, 1, {{"1.a", 3}}},
	{"3 V7 N4294967295\n3 :1.a\n", OK, 7, 4, 1, 0, {{"1.a", 3}}},
	{"1 7\n3 1.a\n", OK, 7, 4, 1, 1, {{"1.a", 3}}},
	{"3 V7 N3\n\n\n", OK, 7, 3, 0, 0, {{NULL, 0}}},
	/* Without UIDVALIDITY a UID means nothing. */
	{"", E_CORRUPT},
	{"\n", E_CORRUPT},
	{"3 N7\n1 :1.a\n", E_CORRUPT},
	{"3 V0 N7\n1 :1.a\n", E_CORRUPT},
	{"3 V99999999999 N7\n1 :1.a\n", E_CORRUPT},
	{"4 V7 N7\n1 :1.a\n", E_CORRUPT},
	{"1 x 7\n", E_CORRUPT},
	{"1276528487.M364837P9451.host\n", E_CORRUPT},
};
static const struct list_case courier_cases[] = {
	{"1 1130000000 12\n3 1130000001.M1P1V0I1_0.host,S=12\n11 1130000002.M2.host\n", OK,
		1130000000, 12, 2, 0,
		{{"1130000001.M1P1V0I1_0.host,S=12:2,S", 3}, {"1130000002.M2.host", 11}}},
	{"1 1130000000\n3 1.a\nrubbish\n", OK, 1130000000, 4, 1, 2, {{"1.a", 3}}},
	{"2 1130000000 12\n3 1.a\n", E_CORRUPT},
	{"3 V7 N8\n3 :1.a\n", E_CORRUPT},
	{"", E_CORRUPT},
};

static void
check_list(const struct list_case *c, enum err parse(struct str text, struct adopt_list *out))
{
	struct adopt_list list;

	assert_int_equal(parse(str_of(c->text), &list), c->err);
	if (c->err == OK) {
		assert_int_equal(list.uidvalidity, c->uidvalidity);
		assert_int_equal(list.next_uid, c->next_uid);
		assert_int_equal(list.count, c->count);
		assert_int_equal(list.bad, c->bad);
	}
	for (size_t i = 0; i < 4 && c->want[i].name && c->err == OK; i++) {
		struct adopt_line *line = adopt_list_find(&list, str_of(c->want[i].name), 0);

		assert_int_equal(line ? line->uid : 0, c->want[i].uid);
	}
	adopt_list_free(&list);
}

static void
test_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(dovecot_cases) / sizeof(dovecot_cases[0]); i++)
		check_list(&dovecot_cases[i], adopt_dovecot_uidlist);
	for (size_t i = 0; i < sizeof(courier_cases) / sizeof(courier_cases[0]); i++)
		check_list(&courier_cases[i], adopt_courier_uiddb);
}

static void
test_extensions(void **state)
{
	struct adopt_list list;
	struct adopt_line *line;

	(void)state;
	assert_int_equal(
		adopt_dovecot_uidlist(STR("3 V7 N8\n1 W30 S29 Pu.1 :1.a\n2 Wx :2.a\n"), &list), OK);
	line = adopt_list_find(&list, STR("1.a:2,S"), 0);
	assert_int_equal(line->size, 29);
	assert_int_equal(line->crlf_size, 30);
	assert_true(str_is(line->uidl, "u.1"));
	line = adopt_list_find(&list, STR("2.a"), 0);
	assert_true(line->size == UINT64_MAX && line->crlf_size == UINT64_MAX);
	adopt_list_free(&list);
}

/* Two files with one unique part: the exact name first, then the UID that the name has. */
static void
test_likeness(void **state)
{
	struct adopt_list list;

	(void)state;
	assert_int_equal(
		adopt_dovecot_uidlist(STR("3 V7 N8\n1 :1.a,S=1\n2 :1.a,S=2\n3 :1.a\n"), &list), OK);
	assert_int_equal(adopt_list_find(&list, STR("1.a,S=2:2,S"), 0)->uid, 2);
	assert_int_equal(adopt_list_find(&list, STR("1.a,S=9,U=1:2,S"), 1)->uid, 1);
	adopt_list_find(&list, STR("1.a"), 0)->taken = 1;
	assert_int_equal(adopt_list_find(&list, STR("1.a"), 0)->uid, 1);
	adopt_list_free(&list);
}

/* ---- the small files ---- */

static void
test_keywords(void **state)
{
	adopt_names names;
	struct adopt_keywords k;
	const struct index_keywords *w;

	(void)state;
	adopt_dovecot_keywords(
		STR("0 $Forwarded\n1 MyOwn\n25 last\n26 toofar\nx y\n2\n3 \n4 a b\n1 again\n"),
		names);
	assert_string_equal(names[0], "$Forwarded");
	assert_string_equal(names[1], "MyOwn");
	assert_string_equal(names[25], "last");
	for (int i = 2; i < 25; i++)
		assert_string_equal(names[i], "");

	adopt_courier_keywords(
		STR("Work\nbad word\n$Later\n\n1.a:0 2\n2.b,S=3:2\n3.c:1 9 x\nrubbish\n"), &k);
	adopt_courier_keyword_change(STR(".3.1.a"), STR("Work\n"), &k);
	adopt_courier_keyword_change(STR(".12.1.a"), STR("Home\n$Later\n"), &k);
	adopt_courier_keyword_change(STR(".x"), STR("Home\n"), &k);
	adopt_courier_keyword_change(STR("4.d"), STR("work\n\n"), &k);
	adopt_keywords_finish(&k);
	assert_string_equal(k.names[0], "Work");
	assert_string_equal(k.names[1], "$Later");
	assert_string_equal(k.names[2], "Home");
	w = adopt_keywords_find(&k, STR("1.a,S=12:2,S"));
	assert_int_equal(w->bits[0], 1 << 2 | 1 << 1);
	assert_int_equal(adopt_keywords_find(&k, STR("2.b:2,"))->bits[0], 1 << 1);
	assert_int_equal(adopt_keywords_find(&k, STR("3.c"))->bits[0], 0);
	assert_int_equal(adopt_keywords_find(&k, STR("4.d"))->bits[0], 1 << 0);
	assert_null(adopt_keywords_find(&k, STR("5.e")));
	assert_int_equal(k.bad, 5);
	adopt_keywords_free(&k);
}

static void
test_subscriptions(void **state)
{
	static const struct {
		const char *text, *want;
		void (*parse)(struct str text, struct buf *out);
	} rows[] = {
		{"V\t2\n\nSent\nArchive\t2026\nINBOX\nbad.level\nesc\1t\n",
			"Sent\nArchive.2026\nINBOX\n", adopt_dovecot_subscriptions},
		{"Sent\nArchive.2026\n", "Sent\nArchive.2026\n", adopt_dovecot_subscriptions},
		{"", "", adopt_dovecot_subscriptions},
		{"INBOX\nINBOX.Sent\r\nINBOX.Archive.2026\nshared.other\n\n",
			"INBOX\nSent\nArchive.2026\n", adopt_courier_subscriptions},
	};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		rows[i].parse(str_of(rows[i].text), &out);
		assert_string_equal(buf_cstr(&out), rows[i].want);
	}
	buf_free(&out);
	assert_int_equal(adopt_dovecot_uidvalidity(STR("6b00d8fa")), 0x6b00d8fa);
	assert_int_equal(adopt_dovecot_uidvalidity(STR("6B00D8FA")), 0x6b00d8fa);
	assert_int_equal(adopt_dovecot_uidvalidity(STR("6b00d8f")), 0);
	assert_int_equal(adopt_dovecot_uidvalidity(STR("6b00d8fg")), 0);
	assert_int_equal(adopt_dovecot_uidvalidity(STR("")), 0);
}

static void
rights(void **state)
{
	static const struct {
		const char *text, *want, *exported;
		size_t bad;
	} rows[] = {
		{"user=Bob@example.test lrs\nanyone lr\nowner lrwstipekxa\n-user=eve@example.test a\n",
			"-eve@example.test=a;anyone=lr;bob@example.test=lrs;owner=aeiklprstwx;",
			"-user=eve@example.test a\nanyone lr\nuser=bob@example.test lrs\n"
			"owner aeiklprstwx\n",
			0},
		{"\"user=two words\" lr\n\n# no line\n", "two words=lr;", "\"user=two words\" lr\n",
			0},
		{"group=Staff lr\n-group=sales p\n", "$staff=lr;-$sales=p;",
			"group=staff lr\n-group=sales p\n", 0},
		{"group-override=staff lr\ngroup= lr\nuser= lr\nuser=a@b lrQ\n\"\nfoo\nuser=c@d\nuser=e@f :lookup\n",
			"c@d=;e@f=;", "user=c@d \nuser=e@f \n", 6},
		{"", "", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct entry_list l;
		struct buf out = {0};
		size_t bad;

		adopt_dovecot_acl(str_of(rows[i].text), &l, &bad);
		for (size_t k = 0; k < l.count; k++)
			(void)buf_printf(&out, "%s=%.*s;", l.items[k].name,
				STR_ARG(buf_str(&l.items[k].value)));
		assert_string_equal(buf_cstr(&out), rows[i].want);
		assert_int_equal(bad, rows[i].bad);
		buf_reset(&out);
		export_dovecot_acl(&l, &out);
		assert_string_equal(buf_cstr(&out), rows[i].exported);
		entry_list_free(&l);
		buf_free(&out);
	}
}

/* ---- whole trees ---- */

struct fixture {
	char dir[64], *maildir, *index_dir;
	struct index_core_options o;
	struct index_core *c;
};

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
		.map_size = 1 << 20,
		.fsync = 1};
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char *command = mem_printf("rm -rf %s", f->dir);

	index_core_close(&f->c, 0);
	assert_int_equal(system(command), 0);
	free(command);
	free(f->maildir);
	free(f->index_dir);
	free(f);
	return 0;
}

static void
put(struct fixture *f, const char *path, const char *text)
{
	char *full = mem_printf("%s/%s", f->maildir, path), *slash;
	int fd;

	slash = strrchr(full, '/');
	*slash = '\0';
	assert_int_equal(io_mkdir_parents(full, 0700), OK);
	*slash = '/';
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), OK);
	close(fd);
	free(full);
}

static int
exists(struct fixture *f, const char *path)
{
	char *full = mem_printf("%s/%s", f->maildir, path);
	int found = access(full, F_OK) == 0;

	free(full);
	return found;
}

static char *
read_text(struct fixture *f, const char *path)
{
	char *full = mem_printf("%s/%s", f->maildir, path);
	struct buf text = {0};

	assert_int_equal(io_read_file(full, &text), OK);
	free(full);
	return buf_steal(&text);
}

static void
assert_file(struct fixture *f, const char *path, const char *want)
{
	char *text = read_text(f, path);

	assert_string_equal(text, want);
	free(text);
}

struct peek {
	const char *name;
	uint32_t uid;
	struct core_box box;
	struct core_message m;
	enum err found;
	adopt_names names;
};

static enum err
peek_step(struct core_tx *tx, void *arg)
{
	struct peek *p = arg;
	enum err e = core_box_find(tx, str_of(p->name), &p->box);

	if (e == OK)
		e = core_keywords_get(tx, p->box.r.id, p->names);
	if (e == OK)
		p->found = core_message_get(tx, p->box.r.id, p->uid, &p->m);
	return e;
}

static struct peek *
look(struct fixture *f, const char *name, uint32_t uid)
{
	static struct peek p;

	memset(&p, 0, sizeof(p));
	p.name = name;
	p.uid = uid;
	assert_int_equal(core_read(f->c, peek_step, &p), OK);
	return &p;
}

static void
reopen(struct fixture *f)
{
	assert_int_equal(index_core_open(&f->o, &f->c), OK);
}

static void
put_dovecot_tree(struct fixture *f)
{
	put(f, "cur/1700000001.M1.host,S=4,W=5:2,S", "abc\n");
	put(f, "cur/1700000002.M2.host:2,Fab", "abc\n");
	put(f, "new/1700000003.M3.host,U=2", "abc\n"); /* not in the list, with another's U= */
	put(f, "cur/1700000004.M4.host,U=3:2,", "abcd\n"); /* of mbsync: means nothing here */
	put(f, "dovecot-uidlist",
		"3 V1275660208 N31 Gx\n4 :1699999999.M0.gone\n7 :1700000001.M1.host,S=4,W=5\n"
		"20 W5 :1700000002.M2.host\n30 :1700000004.M4.host,U=3:2,\n");
	put(f, "dovecot-keywords", "0 $Forwarded\n1 MyOwn\n");
	put(f, "dovecot-uidvalidity", "70000000");
	put(f, "dovecot-uidvalidity.70000009", "");
	put(f, "subscriptions", "V\t2\n\nSent\nA\tB\n");
	put(f, ".Sent/cur/1700000001.M1.host,S=4:2,S", "abc\n");
	put(f, ".Sent/new/x", "");
	put(f, ".Sent/dovecot-uidlist", "1 1275660209 12\n11 1700000001.M1.host,S=4\n");
	put(f, ".New/cur/1700000001.M1.host,S=4:2,S", "abc\n");
	put(f, ".New/new/y", "");
}

static void
check_dovecot_tree(struct fixture *f)
{
	struct peek *p = look(f, "INBOX", 7);

	assert_int_equal(p->box.r.uidvalidity, 1275660208);
	assert_int_equal(p->box.r.messages, 4);
	assert_int_equal(p->box.r.uidnext, 32);
	assert_string_equal(p->names[0], "$Forwarded");
	assert_string_equal(p->names[1], "MyOwn");
	assert_int_equal(p->found, OK);
	assert_string_equal(p->m.name, "1700000001.M1.host,S=4,W=5,U=7:2,S");
	p = look(f, "INBOX", 20);
	assert_string_equal(p->m.name, "1700000002.M2.host,S=4,W=5,U=20:2,Fab");
	assert_int_equal(p->m.r.keywords.bits[0], 3);
	assert_int_equal(look(f, "INBOX", 30)->found, OK);
	assert_string_equal(look(f, "INBOX", 31)->m.name, "1700000003.M3.host,S=4,U=31");
	p = look(f, "Sent", 11);
	assert_int_equal(p->box.r.uidvalidity, 1275660209);
	assert_int_equal(p->box.r.uidnext, 13);
	assert_int_equal(p->found, OK);
}

static void
test_dovecot_tree(void **state)
{
	struct fixture *f = *state;
	uint32_t id;

	put_dovecot_tree(f);
	reopen(f);
	check_dovecot_tree(f);
	/* A folder that Dovecot had not seen, and one that is new: above what was ever given. */
	assert_int_equal(look(f, "New", 1)->box.r.uidvalidity, 0x7000000a);
	assert_int_equal(index_core_create(f->c, STR("Later"), 0, &id), OK);
	assert_int_equal(look(f, "Later", 1)->box.r.uidvalidity, 0x7000000b);
	/* From now on Roost's own files count: the list may be anything. */
	put(f, "dovecot-uidlist", "3 V5 N1\n1 :1700000001.M1.host,S=4,W=5\n");
	index_core_close(&f->c, 0);
	assert_int_equal(index_core_discard(f->index_dir), OK);
	reopen(f);
	assert_int_equal(look(f, "INBOX", 7)->found, OK);
	assert_int_equal(look(f, "INBOX", 7)->box.r.uidvalidity, 1275660208);
}

/* The process died before roost-uidvalidity was written. */
static void
test_again(void **state)
{
	struct fixture *f = *state;
	char *command = mem_printf("rm %s/roost-uidvalidity", f->maildir);

	put_dovecot_tree(f);
	reopen(f);
	index_core_close(&f->c, 0);
	assert_int_equal(index_core_discard(f->index_dir), OK);
	assert_int_equal(system(command), 0);
	put(f, "cur/1700000002.M2.host,S=4:2,F", "abcd\n"); /* a second one of that name */
	reopen(f);
	assert_int_equal(look(f, "INBOX", 7)->found, OK);
	assert_string_equal(look(f, "INBOX", 20)->m.name, "1700000002.M2.host,S=4,W=5,U=20:2,Fab");
	assert_int_equal(look(f, "INBOX", 30)->found, OK);
	assert_int_equal(look(f, "INBOX", 30)->box.r.messages, 5);
	assert_int_equal(look(f, "INBOX", 30)->box.r.uidvalidity, 1275660208);
	free(command);
}

/* The user had an empty Maildir of Roost's already, and an index of that. */
static void
test_tree_put_in_place(void **state)
{
	struct fixture *f = *state;
	char *command = mem_printf("rm -rf %s", f->maildir);
	uint32_t id;

	reopen(f);
	assert_int_equal(index_core_create(f->c, STR("Gone"), 0, &id), OK);
	index_core_close(&f->c, 0);
	assert_int_equal(system(command), 0);
	put_dovecot_tree(f);
	reopen(f);
	check_dovecot_tree(f);
	assert_int_equal(index_core_lookup(f->c, STR("Gone"), &id), E_NOTFOUND);
	free(command);
}

static void
test_damaged_list(void **state)
{
	struct fixture *f = *state;
	struct peek *p;

	put(f, "cur/1700000001.M1.host:2,S", "abc\n");
	put(f, "cur/1700000002.M2.host:2,S", "abc\n");
	put(f, "dovecot-uidlist", "3 V7 N1\n\x01\xff\n500 :1700000002.M2.host\n700 \n");
	put(f, ".Bad/cur/1700000001.M1.host,U=9:2,S", "abc\n");
	put(f, ".Bad/new/x", "");
	put(f, ".Bad/dovecot-uidlist", "\x01rubbish");
	reopen(f);
	p = look(f, "INBOX", 500);
	assert_int_equal(p->box.r.uidvalidity, 7);
	assert_int_equal(p->found, OK);
	assert_int_equal(look(f, "INBOX", 701)->found, OK);
	p = look(f, "Bad", 9);
	assert_true(p->box.r.uidvalidity > 1500000000);
	assert_int_equal(p->box.r.messages, 2);
}

static void
test_hostile_list(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/dovecot-uidlist", f->maildir);
	char *fifo = mem_printf("%s/dovecot-keywords", f->maildir);

	put(f, "cur/1700000001.M1.host:2,S", "abc\n");
	put(f, "other", "3 V7 N9\n5 :1700000001.M1.host\n");
	assert_int_equal(symlink("other", path), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	reopen(f);
	assert_int_not_equal(look(f, "INBOX", 1)->box.r.uidvalidity, 7);
	assert_int_equal(look(f, "INBOX", 1)->found, OK);
	free(path);
	free(fifo);
}

static void
test_courier_tree(void **state)
{
	struct fixture *f = *state;
	struct export_counts counts;
	struct peek *p;
	char *list;

	put(f, "cur/1700000001.M1P1V01I1_0.host,S=4:2,S", "abc\n");
	put(f, "cur/1700000002.M2P1V01I2_0.host,S=4:2,", "abc\n");
	put(f, "new/1700000003.M3P1V01I3_0.host,S=4", "abc\n");
	put(f, "courierimapuiddb",
		"1 1130000000 9\n5 1700000001.M1P1V01I1_0.host,S=4\n8 1700000002.M2P1V01I2_0.host,S=4\n");
	put(f, "courierimapkeywords/:list",
		"k0\nk1\nk2\nk3\nk4\nk5\nk6\nk7\nk8\nk9\nk10\nk11\nk12\nk13\nk14\nk15\nk16\nk17\nk18\n"
		"k19\nk20\nk21\nk22\nk23\nk24\nk25\nk26\n\n1700000001.M1P1V01I1_0.host,S=4:0 2 26\n");
	put(f, "courierimapkeywords/1700000002.M2P1V01I2_0.host,S=4", "k1\n");
	put(f, "courierpop3dsizelist",
		"/3 9 1140000000\n1700000001.M1P1V01I1_0.host,S=4:2,S 5 4:1140000000:0\n"
		"1700000002.M2P1V01I2_0.host,S=4 5 0:0\nrubbish\nx 1 a:b\n"
		"1700000003.M3P1V01I3_0.host,S=4 5 7:0:1\n");
	put(f, "courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.A.B\n");
	put(f, ".Sent/cur/x", "");
	put(f, ".Sent/new/x", "");
	reopen(f);
	p = look(f, "INBOX", 5);
	assert_int_equal(p->box.r.uidvalidity, 1130000000);
	assert_string_equal(p->m.name, "1700000001.M1P1V01I1_0.host,S=4,U=5:2,Sac");
	assert_int_equal(p->m.r.keywords.bits[0], 1 | 1 << 2 | 1 << 26);
	assert_string_equal(p->names[26], "k26");
	assert_int_equal(look(f, "INBOX", 8)->m.r.keywords.bits[0], 2);
	assert_int_equal(look(f, "INBOX", 9)->found, OK);
	assert_true(exists(f, "courierimapuiddb"));
	assert_file(
		f, "roost-uidl", "5 UID4-1140000000\n8 1700000002.M2P1V01I2_0.host,S=4\n9 UID7\n");
	assert_int_equal(export_dovecot(f->c, &counts), OK);
	assert_int_equal(counts.messages, 5);
	assert_int_equal(counts.keywords_lost, 1);
	assert_file(f, "dovecot-keywords",
		"0 k0\n1 k1\n2 k2\n3 k3\n4 k4\n5 k5\n6 k6\n7 k7\n8 k8\n9 k9\n10 k10\n11 k11\n"
		"12 k12\n13 k13\n14 k14\n15 k15\n16 k16\n17 k17\n18 k18\n19 k19\n20 k20\n21 k21\n"
		"22 k22\n23 k23\n24 k24\n25 k25\n");
	assert_file(f, "subscriptions", "A.B\nINBOX\nSent\n");
	list = read_text(f, "dovecot-uidlist");
	assert_non_null(strstr(list, "3 V1130000000 N10 G"));
	assert_non_null(strstr(list,
		"\n5 PUID4-1140000000 :1700000001.M1P1V01I1_0.host,S=4,U=5\n"
		"8 P1700000002.M2P1V01I2_0.host,S=4 :1700000002.M2P1V01I2_0.host,S=4,U=8\n"
		"9 PUID7 :1700000003.M3P1V01I3_0.host,S=4,U=9\n"));
	free(list);
}

/* S= is the size before it was compressed. */
static void
test_gzip(void **state)
{
	struct fixture *f = *state;
	char *path = mem_printf("%s/cur/1700000001.M1.host:2,S", f->maildir);
	gzFile gz;

	put(f, "cur/1700000001.M1.host:2,S", "");
	put(f, "cur/1700000002.M2.host:2,S", "\x1f\x8b\x08, but no gzip file");
	gz = gzopen(path, "wb");
	for (int i = 0; i < 1000; i++)
		gzputs(gz, "0123456789\n");
	gzclose(gz);
	put(f, "dovecot-uidlist", "3 V7 N9\n5 :1700000001.M1.host\n");
	reopen(f);
	assert_string_equal(look(f, "INBOX", 5)->m.name, "1700000001.M1.host,S=11000,U=5:2,S");
	assert_string_equal(look(f, "INBOX", 9)->m.name, "1700000002.M2.host,S=21,U=9:2,S");
	free(path);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_likeness),
		cmocka_unit_test(test_keywords),
		cmocka_unit_test(test_subscriptions),
		TEST(test_dovecot_tree),
		TEST(test_again),
		TEST(test_tree_put_in_place),
		TEST(test_damaged_list),
		TEST(test_hostile_list),
		TEST(test_courier_tree),
		TEST(test_gzip),
	};

	log_init("test", LOGL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
