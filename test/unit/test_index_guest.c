/* SPDX-License-Identifier: MIT */
#include "index_daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "index/client_shared.h"
#include "lib/log.h"
#include "mail/rights.h"

/*
 * A guest's session that speaks to a real roost-index by itself, as one that was taken over would:
 * it gets nothing beyond its rights.
 */

struct fixture {
	struct daemon d;
	struct auth_user alice, bob;
	struct index_user *owner, *guest; /* guest: Bob's connection to Alice's mail */
	uint32_t secret, box; /* her mailboxes */
};

static void
message_add(struct index_user *u, uint32_t id, const char *text)
{
	struct index_append_info info = {0};
	struct index_append *a;
	uint32_t validity, uid;

	assert_int_equal(index_append_create(u, id, 0, &a), OK);
	assert_int_equal(index_append_write(a, text, strlen(text)), OK);
	assert_int_equal(index_append_finish(a), OK);
	assert_int_equal(index_append_commit(u, &a, &info, 1, &validity, &uid), OK);
	index_append_free(&a);
}

static uint32_t
box_make(struct index_user *u, const char *name, const char *text)
{
	struct index_mailbox m;
	uint32_t id;

	assert_int_equal(index_mailbox_create(u, str_of(name), 0, &m), OK);
	id = m.id;
	index_mailbox_free(&m);
	message_add(u, id, text);
	return id;
}

static void
give(struct fixture *f, const char *rights)
{
	assert_int_equal(index_acl_set(f->owner, f->box, STR("bob@example.test"),
				 rights[0] ? INDEX_ACL_REPLACE : INDEX_ACL_DELETE, str_of(rights)),
		OK);
}

static char *
grant(const struct fixture *f, const char *guest)
{
	struct ticket t = {.user = f->alice.name,
		.home = f->alice.home,
		.expires = time(NULL) + 3600,
		.guest = (char *)(uintptr_t)guest,
		.guest_home = f->bob.home};
	struct buf text = {0};

	assert_int_equal(ticket_make(DAEMON_KEY, &t, &text), OK);
	return buf_steal(&text);
}

static struct index_user *
guest_with(struct fixture *f, char *ticket)
{
	struct index_user *g = client_user_new(f->d.conf, f->alice.name);

	g->is_guest = 1;
	g->ticket = ticket;
	return g;
}

static int
setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);
	struct index_user *bob;

	daemon_create(&f->d, "/tmp", 0);
	daemon_user(&f->d, "alice", &f->alice);
	daemon_user(&f->d, "bob", &f->bob);
	assert_int_equal(index_open(f->d.conf, &f->alice, &f->owner), OK);
	assert_int_equal(index_open(f->d.conf, &f->bob, &bob), OK);
	index_close(&bob);
	f->secret = box_make(f->owner, "Secret", "Subject: hidden-words\r\n\r\nx\r\n");
	f->box = box_make(f->owner, "Box", "Subject: shown\r\n\r\nx\r\n");
	f->guest = guest_with(f, grant(f, "bob@example.test"));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	index_close(&f->guest);
	index_close(&f->owner);
	daemon_user_fini(&f->alice);
	daemon_user_fini(&f->bob);
	assert_int_equal(daemon_stop(&f->d, SIGTERM), 0);
	daemon_remove(&f->d);
	free(f);
	return 0;
}

/* ---- what a request is answered ---- */

static enum err
ask(struct fixture *f, enum index_frame type, struct buf *body, enum index_frame want)
{
	struct ipc_msg m;
	enum err e = client_request(f->guest, type, body, want, &m);

	ipc_msg_free(&m);
	buf_free(body);
	return e;
}

static enum err
store(struct fixture *f, uint32_t mailbox, unsigned flags)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u32(&b, 1);
	ipc_put_u32(&b, 1);
	ipc_put_u32(&b, 1);
	ipc_put_u8(&b, INDEX_STORE_ADD);
	ipc_put_u8(&b, (uint8_t)flags);
	ipc_put_u64(&b, UINT64_MAX);
	ipc_put_u32(&b, 0);
	return ask(f, INDEX_STORE, &b, INDEX_STORED);
}

static enum err
expunge(struct fixture *f, uint32_t mailbox, int force)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u8(&b, (uint8_t)force);
	ipc_put_u8(&b, 1);
	ipc_put_u32(&b, 0);
	return ask(f, INDEX_EXPUNGE, &b, INDEX_EXPUNGED);
}

static enum err
copy(struct fixture *f, uint32_t from, uint32_t to, unsigned how)
{
	struct buf b = {0};

	ipc_put_u32(&b, from);
	ipc_put_u32(&b, to);
	ipc_put_u32(&b, how);
	ipc_put_u32(&b, 1);
	ipc_put_u32(&b, 1);
	ipc_put_u32(&b, 1);
	return ask(f, INDEX_COPY, &b, INDEX_COPIED);
}

static enum err
content(struct fixture *f, uint32_t mailbox, uint32_t uid)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u32(&b, uid);
	return ask(f, INDEX_CONTENT_OPEN, &b, INDEX_CONTENT);
}

static enum err
append(struct fixture *f, uint32_t mailbox, const char *file)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u32(&b, 1);
	ipc_put_cstr(&b, file);
	ipc_put_u8(&b, 0);
	ipc_put_u32(&b, 0);
	ipc_put_u64(&b, 5);
	ipc_put_u64(&b, 5);
	ipc_put_cstr(&b, "");
	ipc_put_cstr(&b, "");
	ipc_put_cstr(&b, "");
	return ask(f, INDEX_APPEND, &b, INDEX_COMMITTED);
}

static enum err
of_mailbox(struct fixture *f, enum index_frame type, uint32_t mailbox, enum index_frame want)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	return ask(f, type, &b, want);
}

static enum err
acl_set(struct fixture *f, uint32_t mailbox, const char *identifier, const char *rights)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u8(&b, INDEX_ACL_REPLACE);
	ipc_put_cstr(&b, identifier);
	ipc_put_cstr(&b, rights);
	return ask(f, INDEX_ACL_SET, &b, INDEX_OK);
}

static enum err
metadata_set(struct fixture *f, uint32_t mailbox, const char *name)
{
	struct buf b = {0};

	ipc_put_u32(&b, mailbox);
	ipc_put_u32(&b, 1);
	ipc_put_cstr(&b, name);
	ipc_put_u8(&b, 0);
	ipc_put_cstr(&b, "x");
	return ask(f, INDEX_METADATA_SET, &b, INDEX_OK);
}

static enum err
by_name(struct fixture *f, enum index_frame type, const char *name, const char *more)
{
	struct buf b = {0};

	ipc_put_cstr(&b, name);
	if (type == INDEX_CREATE)
		ipc_put_u32(&b, 0);
	else if (type == INDEX_SUBSCRIBE)
		ipc_put_u8(&b, 1);
	else if (more)
		ipc_put_cstr(&b, more);
	return ask(f, type, &b, type == INDEX_CREATE ? INDEX_MAILBOX : INDEX_OK);
}

/* ---- */

static void
every_request_is_checked(void **state)
{
	struct fixture *f = *state;

	give(f, "lr");
	assert_int_equal(content(f, f->box, 1), OK);
	assert_int_equal(content(f, f->box, 77), E_NOTFOUND);
	assert_int_equal(store(f, f->box, INDEX_FLAGGED), E_ACCESS);
	assert_int_equal(store(f, f->box, INDEX_SEEN), E_ACCESS);
	assert_int_equal(expunge(f, f->box, 0), E_ACCESS);
	assert_int_equal(expunge(f, f->box, 1), E_ACCESS);
	assert_int_equal(copy(f, f->box, f->box, 0), E_ACCESS);
	assert_int_equal(append(f, f->box, "x"), E_ACCESS);
	assert_int_equal(of_mailbox(f, INDEX_ACL_GET, f->box, INDEX_ENTRIES), E_ACCESS);
	assert_int_equal(acl_set(f, f->box, "bob@example.test", "lrswipkxtea"), E_ACCESS);
	assert_int_equal(metadata_set(f, f->box, "/shared/comment"), E_ACCESS);
	assert_int_equal(metadata_set(f, INDEX_METADATA_SERVER, "/private/x"), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_CREATE, "Box/new", NULL), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_CREATE, "new", NULL), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_DELETE, "Box", NULL), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_RENAME, "Box", "Box2"), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_SUBSCRIBE, "Box", NULL), E_ACCESS);
	assert_int_equal(of_mailbox(f, INDEX_CLAIM_RECENT, f->box, INDEX_RECENT), E_ACCESS);
	assert_int_equal(of_mailbox(f, INDEX_SLEEP_SEAL, f->box, INDEX_SLEEP_TOKEN), OK);
	/* What may not be changed is passed over, as long as something is left. */
	give(f, "lrs");
	assert_int_equal(store(f, f->box, INDEX_DELETED), E_ACCESS);
	assert_int_equal(store(f, f->box, INDEX_FLAGGED | INDEX_DELETED), E_ACCESS);
	assert_int_equal(store(f, f->box, INDEX_SEEN | INDEX_DELETED), OK);
}

static void
what_is_not_shared_is_not_there(void **state)
{
	struct fixture *f = *state;
	uint32_t ids[] = {f->secret, 1, 12345};

	give(f, "lrswipkxtea");
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(content(f, ids[i], 1), E_NOTFOUND);
		assert_int_equal(store(f, ids[i], INDEX_SEEN), E_NOTFOUND);
		assert_int_equal(expunge(f, ids[i], 1), E_NOTFOUND);
		assert_int_equal(copy(f, ids[i], f->box, 0), E_NOTFOUND);
		assert_int_equal(copy(f, f->box, ids[i], 0), E_NOTFOUND);
		assert_int_equal(append(f, ids[i], "x"), E_NOTFOUND);
		assert_int_equal(of_mailbox(f, INDEX_ACL_GET, ids[i], INDEX_ENTRIES), E_NOTFOUND);
		assert_int_equal(
			of_mailbox(f, INDEX_METADATA_GET, ids[i], INDEX_ENTRIES), E_NOTFOUND);
		assert_int_equal(acl_set(f, ids[i], "bob@example.test", "lr"), E_NOTFOUND);
		assert_int_equal(
			of_mailbox(f, INDEX_SLEEP_SEAL, ids[i], INDEX_SLEEP_TOKEN), E_NOTFOUND);
		assert_int_equal(of_mailbox(f, INDEX_REFRESH, ids[i], INDEX_OK), E_NOTFOUND);
	}
	assert_int_equal(by_name(f, INDEX_DELETE, "Secret", NULL), E_NOTFOUND);
	assert_int_equal(by_name(f, INDEX_RENAME, "Secret", "Box/x"), E_NOTFOUND);
	assert_int_equal(by_name(f, INDEX_RENAME, "Box", "Secret/x"), E_ACCESS);
	assert_int_equal(by_name(f, INDEX_CREATE, "Secret/x", NULL), E_ACCESS);
	/* With all rights there are still the owner's own things. */
	assert_int_equal(acl_set(f, f->box, "owner", "lr"), E_ACCESS);
	assert_int_equal(acl_set(f, f->box, "-owner", "lr"), E_ACCESS);
	assert_int_equal(metadata_set(f, f->box, "/private/comment"), E_ACCESS);
}

static int
file_has(const char *dir, const char *name, const char *needle)
{
	char *path = mem_printf("%s/%s", dir, name);
	struct buf text = {0};
	int has;

	assert_int_equal(io_read_file(path, &text), OK);
	has = memmem(text.p, text.len, needle, strlen(needle)) != NULL;
	buf_free(&text);
	free(path);
	return has;
}

static void
the_guests_index_has_what_is_shared_alone(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox m;

	give(f, "lr");
	assert_int_equal(client_env_open_told(f->guest), OK);
	assert_true(str_starts_i(str_of(f->guest->index_dir), f->bob.home));
	assert_string_equal(f->guest->maildir, "");
	assert_int_equal(index_mailbox_get(f->guest, STR("Box"), &m), OK);
	assert_int_equal(m.messages, 1);
	index_mailbox_free(&m);
	assert_int_equal(index_mailbox_get(f->guest, STR("Secret"), &m), E_NOTFOUND);
	assert_int_equal(index_mailbox_get(f->guest, STR("INBOX"), &m), E_NOTFOUND);
	assert_true(file_has(f->guest->index_dir, "data.mdb", "shown"));
	assert_false(file_has(f->guest->index_dir, "data.mdb", "hidden-words"));
	assert_false(file_has(f->guest->index_dir, "data.mdb", "Secret"));
	/* What is taken away is gone from it. */
	give(f, "");
	assert_int_equal(of_mailbox(f, INDEX_REFRESH, INDEX_PROTO_TREE, INDEX_OK), OK);
	assert_int_equal(index_mailbox_get(f->guest, STR("Box"), &m), E_NOTFOUND);
	assert_int_equal(content(f, f->box, 1), E_NOTFOUND);
}

static void
files_to_append_lie_in_the_guests_own_tmp(void **state)
{
	static const char *const names[] = {"", "../x", "/etc/passwd",
		"../../../alice/Maildir/cur/x", "sub/x", ".", "..", "missing", "link"};
	struct fixture *f = *state;
	char *tmp = mem_printf("%s/Maildir/tmp", f->bob.home);
	char *link_path = mem_printf("%s/link", tmp), *good = mem_printf("%s/good", tmp);
	struct index_mailbox m;
	FILE *file;

	give(f, "lri");
	assert_int_equal(symlink("/etc/passwd", link_path), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_not_equal(append(f, f->box, names[i]), OK);
	file = fopen(good, "w");
	fputs("Subject: from bob\n\nx\n", file);
	fclose(file);
	assert_int_equal(append(f, f->box, "good"), OK);
	assert_int_equal(access(good, F_OK), 0);
	assert_int_equal(index_mailbox_get(f->owner, STR("Box"), &m), OK);
	assert_int_equal(m.messages, 2);
	index_mailbox_free(&m);
	free(tmp);
	free(good);
	free(link_path);
}

static void
tickets(void **state)
{
	struct fixture *f = *state;
	char *text = grant(f, "bob@example.test"), *other;
	struct index_user *g;
	size_t len = strlen(text);

	give(f, "lr");
	/* A byte changed anywhere, and the fields of the guest left out. */
	for (size_t i = 0; i < len; i += 7) {
		other = mem_strdup(text);
		other[i] = other[i] == '0' ? '1' : '0';
		g = guest_with(f, other);
		assert_int_equal(client_connect(g), E_AUTH);
		index_close(&g);
	}
	/* A good one of somebody without rights lets in to nothing. */
	g = guest_with(f, grant(f, "mallory@example.test"));
	assert_int_equal(client_env_open_told(g), OK);
	assert_int_equal(index_mailbox_get(g, STR("Box"), &(struct index_mailbox){0}), E_NOTFOUND);
	index_close(&g);
	free(text);
}

/* A damaged index of the guest's is his loss, and the owner does not notice. */
static void
a_damaged_index_is_the_guests_loss(void **state)
{
	struct fixture *f = *state;
	uint64_t generation = f->owner->generation;
	struct buf b = {0};
	struct index_mailbox m;

	give(f, "lrs");
	assert_int_equal(store(f, f->box, INDEX_SEEN), OK);
	ipc_put_cstr(&b, "all of it");
	assert_int_equal(ask(f, INDEX_CORRUPT, &b, INDEX_OK), OK);
	client_disconnect(f->guest);
	assert_int_equal(client_connect(f->guest), OK);
	assert_int_equal(client_env_open_told(f->guest), OK);
	assert_int_equal(index_mailbox_get(f->guest, STR("Box"), &m), OK);
	assert_int_equal(m.unseen, 0);
	index_mailbox_free(&m);
	assert_int_equal(index_refresh_tree(f->owner), OK);
	assert_true(f->owner->generation == generation);
}

static unsigned
rights_seen(struct fixture *f)
{
	uint64_t n;

	assert_int_equal(index_read_begin(f->guest), OK);
	assert_int_equal(client_meta(f->guest, INDEX_META_RIGHTS, f->box, &n), OK);
	index_read_end(f->guest);
	return (unsigned)n;
}

/* The guest's session asks its index, and nobody else, what it may. */
static void
rights_are_in_the_guests_index_before_the_answer(void **state)
{
	struct fixture *f = *state;

	give(f, "lrt");
	assert_int_equal(client_env_open_told(f->guest), OK);
	for (int i = 0; i < 100; i++) {
		give(f, "lrs");
		assert_int_equal(rights_seen(f), RIGHT_LOOKUP | RIGHT_READ | RIGHT_SEEN);
		give(f, "lrt");
		assert_int_equal(rights_seen(f), RIGHT_LOOKUP | RIGHT_READ | RIGHT_DELETE);
	}
	/* And when an administrator who is a guest changes them. */
	give(f, "lra");
	assert_int_equal(acl_set(f, f->box, "bob@example.test", "lr"), OK);
	assert_int_equal(rights_seen(f), RIGHT_LOOKUP | RIGHT_READ);
}

static struct index_message
message_of(struct index_user *u, uint32_t mailbox, uint32_t uid)
{
	struct index_message m;

	assert_int_equal(index_read_begin(u), OK);
	assert_int_equal(index_message_get(u, mailbox, uid, &m), OK);
	index_read_end(u);
	return m;
}

static uint64_t
change(struct fixture *f, uint32_t last, enum index_store_op op, unsigned flags)
{
	struct numset uids = {0};
	uint64_t modseq = 0;

	numset_add_range(&uids, 1, last);
	assert_int_equal(
		index_store(f->guest, f->box, &uids, op, flags, NULL, 0, UINT64_MAX, NULL, &modseq),
		OK);
	numset_free(&uids);
	return modseq;
}

/*
 * The guest's other sessions can look between the change of what is common to all, which has the
 * owner's mod-sequence, and that of his \Seen: so that has another.
 */
static void
seen_has_a_mod_sequence_of_its_own(void **state)
{
	struct fixture *f = *state;
	uint64_t modseq;

	message_add(f->owner, f->box, "Subject: second\r\n\r\nx\r\n");
	give(f, "lrsw");
	assert_int_equal(client_env_open_told(f->guest), OK);
	assert_true(change(f, 1, INDEX_STORE_ADD, INDEX_SEEN) > 0);
	assert_true(change(f, 1, INDEX_STORE_ADD, INDEX_SEEN) == 0);
	/* Of the second message both change, of the first one alone; the answer is for both. */
	modseq = change(f, 2, INDEX_STORE_ADD, INDEX_SEEN | INDEX_FLAGGED);
	for (uint32_t uid = 1; uid <= 2; uid++) {
		struct index_message own = message_of(f->owner, f->box, uid);
		struct index_message his = message_of(f->guest, f->box, uid);

		assert_int_equal(own.flags, INDEX_FLAGGED);
		assert_int_equal(his.flags, INDEX_FLAGGED | INDEX_SEEN);
		assert_true(his.modseq == modseq && own.modseq < modseq);
	}
	modseq = change(f, 2, INDEX_STORE_REPLACE, INDEX_ANSWERED);
	for (uint32_t uid = 1; uid <= 2; uid++) {
		struct index_message own = message_of(f->owner, f->box, uid);
		struct index_message his = message_of(f->guest, f->box, uid);

		assert_int_equal(his.flags, INDEX_ANSWERED);
		assert_true(his.modseq == modseq && own.modseq < modseq);
	}
	/* Without \Seen there is one change, and one mod-sequence. */
	modseq = change(f, 2, INDEX_STORE_ADD, INDEX_DRAFT);
	assert_true(message_of(f->owner, f->box, 2).modseq == modseq);
	assert_true(message_of(f->guest, f->box, 2).modseq == modseq);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_request_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_shared_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_guests_index_has_what_is_shared_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			files_to_append_lie_in_the_guests_own_tmp, setup, teardown),
		cmocka_unit_test_setup_teardown(tickets, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_damaged_index_is_the_guests_loss, setup, teardown),
		cmocka_unit_test_setup_teardown(
			rights_are_in_the_guests_index_before_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(
			seen_has_a_mod_sequence_of_its_own, setup, teardown),
	};

	log_init("test_index_guest", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
