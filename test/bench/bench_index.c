/* SPDX-License-Identifier: MIT */
#include "../unit/index_daemon.h"

#include <dirent.h>
#include <stdint.h>
#include <time.h>

#include "lib/log.h"

/*
 * Measures roost-index through its client library, beside what the disk gives for the same system
 * calls without it: bench_index [directory] [messages].
 */

enum { CLIENTS = 8, PER_CLIENT = 200 };

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
must(enum err e, const char *what)
{
	if (e) {
		fprintf(stderr, "%s: %s\n", what, err_text(e));
		exit(1);
	}
}

static void
make_text(char *text, size_t size)
{
	int n = snprintf(
		text, size, "From: a@example.test\nTo: b@example.test\nSubject: bench\n\n");

	for (size_t i = (size_t)n; i < size; i++)
		text[i] = i % 70 == 69 ? '\n' : 'x';
}

static void
append_one(struct index_user *u, uint32_t mailbox, const char *text, size_t size)
{
	struct index_append_info info = {0};
	struct index_append *a;
	uint32_t v, uid;

	must(index_append_create(u, mailbox, size, &a), "create");
	must(index_append_write(a, text, size), "write");
	must(index_append_finish(a), "finish");
	must(index_append_commit(u, &a, &info, 1, &v, &uid), "commit");
	index_append_free(&a);
}

static void
client(const struct daemon *d, const char *local)
{
	struct index_mailbox m;
	struct auth_user who;
	struct index_user *u;
	char text[4096];

	make_text(text, sizeof(text));
	daemon_user(d, local, &who);
	must(index_open(d->conf, &who, &u), "open");
	must(index_mailbox_get(u, STR("INBOX"), &m), "INBOX");
	for (int i = 0; i < PER_CLIENT; i++)
		append_one(u, m.id, text, sizeof(text));
	index_mailbox_free(&m);
	index_close(&u);
	exit(0);
}

/* The daemon is a child too: only these are waited for. */
static void
wait_for(const pid_t pids[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++) {
		int status;

		waitpid(pids[i], &status, 0);
		if (status)
			exit(1);
	}
}

static double
run_clients(const struct daemon *d, int users)
{
	pid_t pids[CLIENTS];
	double start = now_s();

	for (int i = 0; i < CLIENTS; i++) {
		char local[32];

		snprintf(local, sizeof(local), "user%d-%d", users, i % users);
		pids[i] = fork();
		if (pids[i] == 0)
			client(d, local);
	}
	wait_for(pids);
	return CLIENTS * PER_CLIENT / (now_s() - start);
}

/* create, write, fsync, rename, fsync of the directory: what a delivery is at the least. */
static void
raw_client(const char *dir, int id)
{
	char text[4096], tmp[512], new[512], path[300];
	int dfd;

	make_text(text, sizeof(text));
	snprintf(path, sizeof(path), "%s/raw%d", dir, id);
	(void)mkdir(path, 0700);
	dfd = open(path, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < PER_CLIENT; i++) {
		snprintf(tmp, sizeof(tmp), "%s/tmp-%d", path, i);
		snprintf(new, sizeof(new), "%s/new-%d", path, i);
		int fd = open(tmp, O_WRONLY | O_CREAT, 0600);

		if (write(fd, text, sizeof(text)) < 0 || fsync(fd) || close(fd) ||
			rename(tmp, new) || fsync(dfd))
			exit(1);
	}
	exit(0);
}

static double
run_raw(const char *dir)
{
	pid_t pids[CLIENTS];
	double start = now_s();

	for (int i = 0; i < CLIENTS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			raw_client(dir, i);
	}
	wait_for(pids);
	return CLIENTS * PER_CLIENT / (now_s() - start);
}

static void
fill_maildir(const struct auth_user *who, int count)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/Maildir/cur", who->home);
	must(io_mkdir_parents(path, 0700), "mkdir");
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/Maildir/cur/%d.M%dP1Q1.host.example,S=12,W=14:2,S",
			who->home, 1600000000 + i, i);
		FILE *fp = fopen(path, "w");

		daemon_check(fp != NULL, path);
		fputs("Subject: x\n\n", fp);
		fclose(fp);
	}
}

static void
large_mailbox(const struct daemon *d, int count)
{
	struct numset all = {0};
	struct index_mailbox m;
	struct auth_user who;
	struct index_user *u;
	uint64_t modseq;
	double start;
	char command[400];

	daemon_user(d, "large", &who);
	fill_maildir(&who, count);
	start = now_s();
	must(index_open(d->conf, &who, &u), "open");
	printf("first open of %d foreign messages: %.2f s\n", count, now_s() - start);
	must(index_mailbox_get(u, STR("INBOX"), &m), "INBOX");
	daemon_check((int)m.messages == count, "count");
	numset_add_range(&all, 1, UINT32_MAX);
	for (int i = 0; i < 2; i++) {
		start = now_s();
		must(index_store(u, m.id, &all, i ? INDEX_STORE_REMOVE : INDEX_STORE_ADD,
			     INDEX_FLAGGED, NULL, 0, UINT64_MAX, NULL, &modseq),
			"store");
		printf("STORE 1:* %s: %.2f s\n", i ? "remove" : "add", now_s() - start);
	}
	start = now_s();
	must(index_refresh(u, m.id), "refresh");
	printf("refresh: %.3f s\n", now_s() - start);
	index_mailbox_free(&m);
	index_close(&u);
	daemon_stop((struct daemon *)d, SIGTERM);
	snprintf(command, sizeof(command), "rm -rf '%s/index'", who.home);
	daemon_check(system(command) == 0, "rm");
	daemon_start((struct daemon *)d);
	start = now_s();
	must(index_open(d->conf, &who, &u), "open");
	printf("rebuild of %d own messages: %.2f s\n", count, now_s() - start);
	index_close(&u);
	numset_free(&all);
	daemon_user_fini(&who);
}

int
main(int argc, char **argv)
{
	const char *parent = argc > 1 ? argv[1] : ".";
	int count = argc > 2 ? atoi(argv[2]) : 100000;
	struct daemon d;
	char dir[300];

	log_init("bench", LOGL_WARN);
	setvbuf(stdout, NULL, _IONBF, 0);
	snprintf(dir, sizeof(dir), "%s/raw-XXXXXX", parent);
	daemon_check(mkdtemp(dir) != NULL, "mkdtemp");
	printf("disk alone, %d clients: %.0f/s\n", CLIENTS, run_raw(dir));
	daemon_create(&d, parent, 1);
	printf("append, %d clients, 1 user: %.0f/s\n", CLIENTS, run_clients(&d, 1));
	printf("append, %d clients, %d users: %.0f/s\n", CLIENTS, CLIENTS,
		run_clients(&d, CLIENTS));
	printf("disk alone again: %.0f/s\n", run_raw(dir));
	large_mailbox(&d, count);
	daemon_stop(&d, SIGTERM);
	daemon_remove(&d);
	char command[400];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) == 0 ? 0 : 1;
}
