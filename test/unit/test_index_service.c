/* SPDX-License-Identifier: MIT */
#include "index_daemon.h"

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "index/index_proto.h"
#include "lib/ipc.h"
#include "lib/log.h"

/* A real roost-index and real clients. */

struct fixture {
	struct daemon d;
	struct auth_user alice;
	struct index_user *u;
};

static int
setup(void **state)
{
	struct fixture *f = MEM_NEW(struct fixture);

	daemon_create(&f->d, "/tmp", 1);
	daemon_user(&f->d, "alice", &f->alice);
	assert_int_equal(index_open(f->d.conf, &f->alice, &f->u), OK);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	index_close(&f->u);
	daemon_user_fini(&f->alice);
	assert_int_equal(daemon_stop(&f->d, SIGTERM), 0);
	daemon_remove(&f->d);
	free(f);
	return 0;
}

static struct index_mailbox
get(struct index_user *u, const char *name)
{
	struct index_mailbox m;

	assert_int_equal(index_mailbox_get(u, str_of(name), &m), OK);
	return m;
}

static uint32_t
deliver(struct index_user *u, const char *name)
{
	static const char text[] = "Subject: hello\nMessage-ID: <1@example.test>\n\nbody\n";
	struct index_append_info info = {0};
	struct index_append *a;
	struct index_mailbox m = get(u, name);
	uint32_t uidvalidity, uid = 0;

	assert_int_equal(index_append_create(u, m.id, 0, &a), OK);
	assert_int_equal(index_append_write(a, text, sizeof(text) - 1), OK);
	assert_int_equal(index_append_finish(a), OK);
	assert_int_equal(index_append_commit(u, &a, &info, 1, &uidvalidity, &uid), OK);
	assert_int_equal(uidvalidity, m.uidvalidity);
	index_append_free(&a);
	index_mailbox_free(&m);
	return uid;
}

static void
test_deliver_and_read(void **state)
{
	struct fixture *f = *state;
	struct index_content content;
	struct index_mailbox m;

	assert_int_equal(deliver(f->u, "INBOX"), 1);
	assert_int_equal(deliver(f->u, "INBOX"), 2);
	m = get(f->u, "INBOX");
	assert_int_equal(m.messages, 2);
	assert_int_equal(m.uidnext, 3);
	assert_int_equal(index_content_open(f->u, m.id, 2, &content), OK);
	assert_memory_equal(content.p, "Subject: hello", 14);
	index_content_close(&content);
	index_mailbox_free(&m);
}

static void
test_changes(void **state)
{
	static const char *const words[] = {"$Forwarded"};
	struct fixture *f = *state;
	struct index_mailbox inbox = get(f->u, "INBOX"), sent = get(f->u, "Sent");
	struct index_copied copied = {0};
	struct numset uids = {0}, gone = {0};
	uint32_t first;
	uint64_t modseq;

	deliver(f->u, "INBOX");
	deliver(f->u, "INBOX");
	numset_add_range(&uids, 1, UINT32_MAX);
	assert_int_equal(index_store(f->u, inbox.id, &uids, INDEX_STORE_ADD, INDEX_SEEN, words, 1,
				 UINT64_MAX, NULL, &modseq),
		OK);
	assert_int_equal(index_claim_recent(f->u, inbox.id, &first), OK);
	assert_int_equal(first, 1);
	assert_int_equal(index_copy(f->u, inbox.id, sent.id, &uids, 0, &copied), OK);
	assert_int_equal(numset_size(&copied.dst), 2);
	assert_int_equal(index_expunge(f->u, inbox.id, &uids, 1, &gone), OK);
	assert_int_equal(numset_size(&gone), 2);
	index_mailbox_free(&inbox);
	index_mailbox_free(&sent);
	inbox = get(f->u, "INBOX");
	sent = get(f->u, "Sent");
	assert_int_equal(inbox.messages, 0);
	assert_int_equal(sent.messages, 2);
	assert_int_equal(sent.unseen, 0);
	index_mailbox_free(&inbox);
	index_mailbox_free(&sent);
	numset_free(&copied.src);
	numset_free(&copied.dst);
	numset_free(&uids);
	numset_free(&gone);
}

static void
test_mailboxes(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox m;

	assert_int_equal(index_mailbox_create(f->u, STR("A/B"), 0, &m), OK);
	assert_string_equal(m.name, "A/B");
	index_mailbox_free(&m);
	assert_int_equal(index_mailbox_create(f->u, STR("A/B"), 0, NULL), E_EXISTS);
	assert_int_equal(index_mailbox_rename(f->u, STR("A"), STR("C")), OK);
	assert_int_equal(index_mailbox_get(f->u, STR("A/B"), &m), E_NOTFOUND);
	assert_int_equal(index_subscribe(f->u, STR("C/B"), 1), OK);
	assert_int_equal(index_mailbox_delete(f->u, STR("C/B")), OK);
	assert_int_equal(index_mailbox_delete(f->u, STR("C/B")), E_NOTFOUND);
}

static void
test_news(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox inbox = get(f->u, "INBOX");
	struct index_user *other;
	int changed = 0;
	char *path;
	FILE *fp;

	assert_int_equal(index_open(f->d.conf, &f->alice, &other), OK);
	assert_int_equal(index_watch(f->u, inbox.id, 1), OK);
	deliver(other, "INBOX");
	assert_int_equal(io_wait_readable(index_watch_fd(f->u), 10000), OK);
	assert_int_equal(index_watch_read(f->u, &changed), OK);
	assert_true(changed);
	/* By another program. */
	changed = 0;
	path = mem_printf("%s/Maildir/tmp/1700000000.M1P1.other.example", f->alice.home);
	fp = fopen(path, "w");
	assert_non_null(fp);
	fputs("Subject: x\n\ny\n", fp);
	fclose(fp);
	char *to = mem_printf("%s/Maildir/new/1700000000.M1P1.other.example", f->alice.home);
	assert_int_equal(rename(path, to), 0);
	free(path);
	free(to);
	while (!changed) {
		assert_int_equal(io_wait_readable(index_watch_fd(f->u), 10000), OK);
		assert_int_equal(index_watch_read(f->u, &changed), OK);
	}
	index_mailbox_free(&inbox);
	inbox = get(f->u, "INBOX");
	assert_int_equal(inbox.messages, 2);
	index_mailbox_free(&inbox);
	index_close(&other);
}

/* One that does not read is told of each mailbox once when it does, and piles nothing up. */
static void
test_news_for_who_does_not_read(void **state)
{
	enum { CHANGES = 6000, NOTICE = IPC_HEADER_SIZE + 12 };
	struct fixture *f = *state;
	struct index_mailbox inbox = get(f->u, "INBOX"), sent = get(f->u, "Sent");
	struct numset uids = {0};
	struct index_user *other;
	uint32_t heard_of = 0;
	uint64_t modseq = 0, heard = 0;
	size_t notices = 0;

	assert_int_equal(index_open(f->d.conf, &f->alice, &other), OK);
	deliver(other, "INBOX");
	assert_int_equal(index_watch(f->u, 0, 1), OK);
	numset_add(&uids, 1);
	for (int i = 0; i < CHANGES; i++)
		assert_int_equal(index_store(other, inbox.id, &uids,
					 i % 2 ? INDEX_STORE_REMOVE : INDEX_STORE_ADD,
					 INDEX_FLAGGED, NULL, 0, UINT64_MAX, NULL, &modseq),
			OK);
	deliver(other, "Sent");
	for (; heard_of != sent.id; notices++) {
		char notice[NOTICE];
		struct ipc_reader r = ipc_reader_of(str_make(notice + IPC_HEADER_SIZE, 12));
		uint64_t at;

		assert_int_equal(io_wait_readable(index_watch_fd(f->u), 10000), OK);
		assert_int_equal(recv(index_watch_fd(f->u), notice, NOTICE, MSG_WAITALL), NOTICE);
		heard_of = ipc_get_u32(&r);
		at = ipc_get_u64(&r);
		if (heard_of == inbox.id)
			heard = at;
	}
	assert_true(notices < CHANGES);
	assert_int_equal(heard, modseq);
	numset_free(&uids);
	index_mailbox_free(&inbox);
	index_mailbox_free(&sent);
	index_close(&other);
}

static void
wait_for_news(struct fixture *f)
{
	int changed = 0;

	while (!changed) {
		assert_int_equal(io_wait_readable(index_watch_fd(f->u), 10000), OK);
		assert_int_equal(index_watch_read(f->u, &changed), OK);
	}
}

static void
by_hand(const char *command, const char *home)
{
	char *line = mem_printf("cd '%s/Maildir' && %s", home, command);

	assert_int_equal(system(line), 0);
	free(line);
}

/* Who watches all hears of folders and messages that other programs make, and of the index's end.
 */
static void
test_news_of_all(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox m;

	assert_int_equal(index_watch(f->u, 0, 1), OK);
	/* So slowly that it is seen half made. */
	by_hand("mkdir .New; sleep 0.3; mkdir -p .New/tmp .New/new .New/cur", f->alice.home);
	do {
		wait_for_news(f);
	} while (index_mailbox_get(f->u, STR("New"), &m) == E_NOTFOUND);
	index_mailbox_free(&m);
	/* A message in the folder that was not there when the watch began. */
	m = get(f->u, "New");
	while (m.messages == 0) {
		by_hand("printf 'Subject: x\n\ny\n' > .New/tmp/1.x; mv .New/tmp/1.x .New/new/",
			f->alice.home);
		wait_for_news(f);
		index_mailbox_free(&m);
		m = get(f->u, "New");
	}
	index_mailbox_free(&m);
	/* And its flags; a file that has its UID meanwhile has another name. */
	by_hand("until ls .New/cur/*:2,S; do for f in .New/new/*; do "
		"mv $f .New/cur/${f##*/}:2,S; done; done >/dev/null 2>&1",
		f->alice.home);
	for (m = get(f->u, "New"); m.unseen; m = get(f->u, "New")) {
		index_mailbox_free(&m);
		wait_for_news(f);
	}
	index_mailbox_free(&m);
	by_hand("mv .New ..", f->alice.home);
	do {
		wait_for_news(f);
	} while (index_mailbox_get(f->u, STR("New"), &m) == OK && (index_mailbox_free(&m), 1));
	/* It may be there anew before rm is through. */
	by_hand("rm -rf ../index 2>/dev/null; true", f->alice.home);
	wait_for_news(f);
	m = get(f->u, "INBOX");
	index_mailbox_free(&m);
	assert_int_equal(index_watch(f->u, 0, 0), OK);
}

static void
test_killed(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox before = get(f->u, "INBOX"), after;

	for (uint32_t i = 1; i <= 5; i++) {
		assert_int_equal(deliver(f->u, "INBOX"), i);
		assert_int_equal(daemon_stop(&f->d, SIGKILL), -SIGKILL);
		daemon_start(&f->d);
		/* The first call may find the old connection dead. */
		(void)index_refresh(f->u, before.id);
	}
	after = get(f->u, "INBOX");
	assert_int_equal(after.messages, 5);
	assert_int_equal(after.uidvalidity, before.uidvalidity);
	index_mailbox_free(&before);
	index_mailbox_free(&after);
}

/* OPEN by hand: WAIT at once, then OPENED. */
static void
open_by_hand(int fd, const char *ticket)
{
	struct buf body = {0};
	struct ipc_msg m;

	ipc_put_cstr(&body, ticket);
	assert_int_equal(ipc_send(fd, INDEX_OPEN, 1, buf_str(&body), NULL, 0, 10000), OK);
	assert_int_equal(ipc_recv(fd, &m, 10000), OK);
	assert_int_equal(m.type, INDEX_WAIT);
	assert_int_equal(m.request, 0);
	ipc_msg_free(&m);
	assert_int_equal(ipc_recv(fd, &m, 10000), OK);
	assert_int_equal(m.type, INDEX_OPENED);
	ipc_msg_free(&m);
	buf_free(&body);
}

static int
connect_by_hand(const struct fixture *f)
{
	char *path = conf_run_path(f->d.conf, "index");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	free(path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void
restart(struct fixture *f)
{
	index_close(&f->u);
	assert_int_equal(daemon_stop(&f->d, SIGTERM), 0);
	daemon_start(&f->d);
	assert_int_equal(index_open(f->d.conf, &f->alice, &f->u), OK);
}

static void
make_files(const struct auth_user *user, int count)
{
	by_hand("mkdir -p cur new tmp", user->home);
	for (int i = 0; i < count; i++) {
		char *path = mem_printf(
			"%s/Maildir/cur/%d.M%dP1.x,S=14:2,S", user->home, 1600000000 + i / 1000, i);
		FILE *fp = fopen(path, "w");

		assert_non_null(fp);
		fputs("Subject: x\n\ny\n", fp);
		fclose(fp);
		free(path);
	}
}

/*
 * While one user's tree is taken over another one of the same thread is served. ROOST_LONG_OPENING:
 * so many files, and nothing may take longer than 50 ms.
 */
static void
test_long_opening(void **state)
{
	const char *heavy = getenv("ROOST_LONG_OPENING");
	struct fixture *f = *state;
	struct auth_user bob = {0};
	struct buf body = {0};
	struct index_mailbox m;
	struct ipc_msg answer;
	int fd, served = 0;
	int64_t longest = 0;

	assert_int_equal(conf_set(f->d.conf, "index_threads", "1", NULL), OK);
	restart(f);
	daemon_user(&f->d, "bob", &bob);
	char *maildir = mem_printf("%s/Maildir", bob.home);
	assert_int_equal(io_mkdir_parents(maildir, 0700), OK);
	free(maildir);
	make_files(&bob, heavy ? atoi(heavy) : 20000);
	fd = connect_by_hand(f);
	ipc_put_cstr(&body, bob.ticket);
	assert_int_equal(ipc_send(fd, INDEX_OPEN, 1, buf_str(&body), NULL, 0, 10000), OK);
	assert_int_equal(ipc_recv(fd, &answer, 10000), OK);
	assert_int_equal(answer.type, INDEX_WAIT);
	ipc_msg_free(&answer);
	while (io_wait_readable(fd, 0) == E_TIMEOUT) {
		int64_t begin = io_now_ms(), took;

		m = get(f->u, "INBOX");
		index_mailbox_free(&m);
		took = io_now_ms() - begin;
		longest = took > longest ? took : longest;
		served++;
	}
	assert_int_equal(ipc_recv(fd, &answer, 10000), OK);
	assert_int_equal(answer.type, INDEX_OPENED);
	ipc_msg_free(&answer);
	close(fd);
	assert_in_range(served, 20, INT_MAX);
	if (heavy) {
		print_message("%d requests, %d ms the longest\n", served, (int)longest);
		assert_in_range(longest, 0, 50);
	}
	buf_free(&body);
	daemon_user_fini(&bob);
}

/*
 * The same for a folder that somebody fills while it is open: its other clients wait, a new one
 * too, and nobody else.
 */
static void
test_long_look(void **state)
{
	enum { FILES = 15000 };
	struct fixture *f = *state;
	struct auth_user bob = {0};
	struct index_user *u;
	struct index_mailbox m, inbox;
	struct numset uids = {0};
	struct buf body = {0};
	struct ipc_msg answer;
	int first, second, served = 0;
	uint64_t modseq;

	assert_int_equal(conf_set(f->d.conf, "index_threads", "1", NULL), OK);
	restart(f);
	daemon_user(&f->d, "bob", &bob);
	assert_int_equal(index_open(f->d.conf, &bob, &u), OK);
	m = get(u, "INBOX");
	numset_add(&uids, deliver(f->u, "INBOX"));
	inbox = get(f->u, "INBOX");
	first = connect_by_hand(f);
	open_by_hand(first, bob.ticket);
	make_files(&bob, FILES);
	ipc_put_u32(&body, m.id);
	assert_int_equal(ipc_send(first, INDEX_REFRESH, 2, buf_str(&body), NULL, 0, 10000), OK);
	second = connect_by_hand(f);
	buf_reset(&body);
	ipc_put_cstr(&body, bob.ticket);
	assert_int_equal(ipc_send(second, INDEX_OPEN, 3, buf_str(&body), NULL, 0, 10000), OK);
	for (; io_wait_readable(first, 0) == E_TIMEOUT; served++)
		assert_int_equal(index_store(f->u, inbox.id, &uids,
					 served % 2 ? INDEX_STORE_REMOVE : INDEX_STORE_ADD,
					 INDEX_SEEN, NULL, 0, UINT64_MAX, NULL, &modseq),
			OK);
	assert_int_equal(ipc_recv(first, &answer, 10000), OK);
	assert_int_equal(answer.type, INDEX_OK);
	assert_int_equal(answer.request, 2);
	ipc_msg_free(&answer);
	do {
		assert_int_equal(ipc_recv(second, &answer, 10000), OK);
		ipc_msg_free(&answer);
	} while (answer.type == INDEX_WAIT);
	assert_int_equal(answer.type, INDEX_OPENED);
	assert_in_range(served, 3, INT_MAX);
	index_mailbox_free(&m);
	m = get(u, "INBOX");
	assert_int_equal(m.messages, FILES);
	/* Back in its own thread, all is as ever. */
	assert_int_equal(deliver(u, "INBOX"), FILES + 1);
	close(first);
	close(second);
	index_close(&u);
	numset_free(&uids);
	index_mailbox_free(&m);
	index_mailbox_free(&inbox);
	buf_free(&body);
	daemon_user_fini(&bob);
}

/* Two who open the same user at once, and one who goes away meanwhile. */
static void
test_opened_by_many(void **state)
{
	struct fixture *f = *state;
	struct auth_user bob = {0};
	struct buf body = {0};
	int fds[8];

	daemon_user(&f->d, "bob", &bob);
	ipc_put_cstr(&body, bob.ticket);
	for (size_t i = 0; i < 8; i++) {
		fds[i] = connect_by_hand(f);
		assert_int_equal(
			ipc_send(fds[i], INDEX_OPEN, 1, buf_str(&body), NULL, 0, 10000), OK);
	}
	close(fds[0]);
	for (size_t i = 1; i < 8; i++) {
		static const uint16_t types[] = {INDEX_WAIT, INDEX_OPENED};

		for (size_t k = 0; k < 2; k++) {
			struct ipc_msg answer;

			assert_int_equal(ipc_recv(fds[i], &answer, 10000), OK);
			assert_int_equal(answer.type, types[k]);
			ipc_msg_free(&answer);
		}
		close(fds[i]);
	}
	buf_free(&body);
	daemon_user_fini(&bob);
}

static int
descriptors_of(pid_t pid)
{
	char *path = mem_printf("/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	free(path);
	return n;
}

/* More users than there are descriptors for: who is not there any more makes room. */
static void
test_few_descriptors(void **state)
{
	enum { LIMIT = 160, USERS = 60 };
	struct fixture *f = *state;

	f->d.descriptors = LIMIT;
	restart(f);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < USERS; i++) {
			struct auth_user user = {0};
			struct index_user *u;
			char name[32];

			snprintf(name, sizeof(name), "user%d", i);
			daemon_user(&f->d, name, &user);
			assert_int_equal(index_open(f->d.conf, &user, &u), OK);
			assert_int_equal(deliver(u, "INBOX"), round + 1);
			index_close(&u);
			daemon_user_fini(&user);
			assert_in_range(descriptors_of(f->d.pid), 1, LIMIT - 16);
		}
	}
	/* Who is there stays. */
	deliver(f->u, "INBOX");
}

static void
test_rebuilt_while_open(void **state)
{
	struct fixture *f = *state;
	struct index_mailbox m;
	struct buf body = {0};
	struct ipc_msg answer;
	int fd;

	deliver(f->u, "INBOX");
	fd = connect_by_hand(f);
	open_by_hand(fd, f->alice.ticket);
	ipc_put_cstr(&body, "a test says so");
	assert_int_equal(ipc_send(fd, INDEX_CORRUPT, 2, buf_str(&body), NULL, 0, 10000), OK);
	assert_int_equal(ipc_recv(fd, &answer, 10000), OK);
	assert_int_equal(answer.type, INDEX_OK);
	ipc_msg_free(&answer);
	assert_int_equal(ipc_recv(fd, &answer, 10000), E_CLOSED);
	ipc_msg_free(&answer);
	buf_free(&body);
	close(fd);
	m = get(f->u, "INBOX");
	(void)index_refresh(f->u, m.id);
	index_mailbox_free(&m);
	m = get(f->u, "INBOX");
	assert_int_equal(m.messages, 1);
	index_mailbox_free(&m);
}

static void
test_bad_frames(void **state)
{
	static const uint16_t types[] = {0, 2, 10, 20, 22, 24, 26, 30, 31, 40, 41, 65535};
	struct fixture *f = *state;
	char *path = conf_run_path(f->d.conf, "index");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ipc_msg answer;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	free(path);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (int opened = 0; opened < 2; opened++) {
			int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

			assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
			if (opened)
				open_by_hand(fd, f->alice.ticket);
			assert_int_equal(
				ipc_send(fd, types[i], 2, STR("\xff\xff\xff\xff\xff\xff\xff"), NULL,
					0, 9999),
				OK);
			assert_int_equal(ipc_recv(fd, &answer, 9999), E_CLOSED);
			ipc_msg_free(&answer);
			close(fd);
		}
	}
	/* A ticket that is not ours. */
	struct auth_user mallory = f->alice;
	struct index_user *u;

	mallory.ticket = mem_printf("%sx", f->alice.ticket);
	assert_int_equal(index_open(f->d.conf, &mallory, &u), E_AUTH);
	free(mallory.ticket);
	deliver(f->u, "INBOX");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_deliver_and_read),
		TEST(test_changes),
		TEST(test_mailboxes),
		TEST(test_news),
		TEST(test_news_for_who_does_not_read),
		TEST(test_news_of_all),
		TEST(test_killed),
		TEST(test_rebuilt_while_open),
		TEST(test_bad_frames),
		TEST(test_long_opening),
		TEST(test_long_look),
		TEST(test_opened_by_many),
		TEST(test_few_descriptors),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
