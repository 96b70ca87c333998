/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "index/core_private.h"
#include "lib/buf.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"

/*
 * The index's core at sizes that few have, without its sockets:
 *
 *   bench_scale messages DIR N     N files of another program in one folder
 *   bench_scale folders DIR N      N folders of one user
 *   bench_scale users DIR N        N users open at the same time
 *
 *   bench_scale look DIR 1         a look at DIR/Maildir, which is there; the index in DIR/index
 *
 * What the others make lies in DIR, which must not exist, and is left there.
 */

/* Three of LMDB, one of the Maildir. */
enum { USER_FDS = 4, SPARE_FDS = 64 };

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
must(int failed, const char *what)
{
	if (failed) {
		perror(what);
		exit(1);
	}
}

static void
must_ok(enum err e, const char *what)
{
	if (e) {
		fprintf(stderr, "%s: %s\n", what, err_text(e));
		exit(1);
	}
}

/* KB of memory that is no file's: pages of the maps are the page cache's. */
static long
anonymous_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static int
open_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 100000; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void
make_folder(const char *path)
{
	static const char *const subs[] = {"", "/cur", "/new", "/tmp"};
	char full[512];

	for (size_t i = 0; i < 4; i++) {
		snprintf(full, sizeof(full), "%s%s", path, subs[i]);
		must(mkdir(full, 0700), full);
	}
}

static struct index_core *
open_core(const char *dir, const char *user)
{
	static const char *const none[] = {NULL};
	char *maildir = mem_printf("%s/%s/Maildir", dir, user);
	char *index_dir = mem_printf("%s/%s/index", dir, user);
	struct index_core_options o = {.maildir = maildir,
		.index_dir = index_dir,
		.host = "bench.example.test",
		.default_mailboxes = none,
		.map_size = 1 << 30,
		.fsync = 1};
	struct index_core *c;

	must_ok(index_core_open(&o, &c), "open");
	free(maildir);
	free(index_dir);
	return c;
}

static void
make_user(const char *dir, const char *user)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, user);
	must(mkdir(path, 0700), path);
	snprintf(path, sizeof(path), "%s/%s/Maildir", dir, user);
	make_folder(path);
}

static void
step(const char *what, double *since, long kb)
{
	double now = now_s();

	printf("%-44s %9.3f s %9ld KB more\n", what, now - *since, anonymous_kb() - kb);
	fflush(stdout);
	*since = now_s();
}

static void
messages(const char *dir, int n)
{
	char path[512];
	struct index_core *c;
	uint32_t id, first;
	double t = now_s();
	long kb;
	int cur;

	make_user(dir, "one");
	snprintf(path, sizeof(path), "%s/one/Maildir/cur", dir);
	cur = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(cur < 0, path);
	for (int i = 0; i < n; i++) {
		int fd;

		snprintf(path, sizeof(path), "%d.M%dP1.bench,S=14,W=16:2,S", 1600000000 + i / 1000,
			i);
		fd = openat(cur, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		must(fd < 0 || write(fd, "Subject: x\n\nx\n", 14) != 14, path);
		close(fd);
	}
	close(cur);
	sync();
	kb = anonymous_kb();
	step("make the files", &t, kb);
	c = open_core(dir, "one");
	step("first look", &t, kb);
	must_ok(index_core_lookup(c, STR("INBOX"), &id), "lookup");
	must_ok(index_core_claim_recent(c, id, &first), "claim");
	step("claim \\Recent", &t, kb);
	while (index_core_background(c))
		;
	step("names in the background", &t, kb);
	must_ok(index_core_refresh(c, id), "refresh");
	step("another look, nothing changed", &t, kb);
	index_core_close(&c, 1);
	step("close", &t, kb);
	c = open_core(dir, "one");
	step("open again", &t, kb);
	index_core_close(&c, 1);
	snprintf(path, sizeof(path), "rm -r %s/one/index", dir);
	must(system(path), path);
	t = now_s();
	c = open_core(dir, "one");
	step("index made anew", &t, kb);
	index_core_close(&c, 1);
}

static void
folders(const char *dir, int n)
{
	char path[512];
	struct index_core *c;
	double t = now_s();
	long kb;

	make_user(dir, "one");
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/one/Maildir/.Folder%d", dir, i);
		make_folder(path);
	}
	sync();
	kb = anonymous_kb();
	step("make the folders", &t, kb);
	c = open_core(dir, "one");
	step("first look", &t, kb);
	must_ok(index_core_refresh(c, 0), "refresh");
	step("look at all of them again", &t, kb);
	must_ok(index_core_sync(c), "sync");
	printf("descriptors: %d\n", open_fds());
	t = now_s();
	index_core_close(&c, 1);
	c = open_core(dir, "one");
	step("close and open again", &t, kb);
	index_core_close(&c, 1);
}

static void
users(const char *dir, int n)
{
	struct index_core **all = mem_zalloc((size_t)n * sizeof(struct index_core *));
	struct rlimit lim;
	double t = now_s();
	char name[64];
	long kb;
	int fds;

	must(getrlimit(RLIMIT_NOFILE, &lim), "limit");
	lim.rlim_cur = lim.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &lim), "limit");
	if ((rlim_t)n * USER_FDS + SPARE_FDS > lim.rlim_max) {
		n = (int)((lim.rlim_max - SPARE_FDS) / USER_FDS);
		printf("the limit of descriptors allows %d users\n", n);
	}
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		make_user(dir, name);
	}
	sync();
	step("make the users", &t, anonymous_kb());
	for (int i = 0; i < n; i++) {
		struct index_core *c;

		snprintf(name, sizeof(name), "user%d", i);
		c = open_core(dir, name);
		index_core_close(&c, 1);
	}
	kb = anonymous_kb();
	fds = open_fds();
	step("open each for the first time", &t, kb);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		all[i] = open_core(dir, name);
		must_ok(index_core_sync(all[i]), "sync");
	}
	step("open all of them", &t, kb);
	printf("a user: %.1f KB, %.1f descriptors\n", (double)(anonymous_kb() - kb) / n,
		(double)(open_fds() - fds) / n);
	for (int i = 0; i < n; i++)
		index_core_close(&all[i], 1);
	step("close them", &t, kb);
	free(all);
}

static void
look(const char *dir)
{
	double t = now_s();
	long kb = anonymous_kb();
	struct index_core *c = open_core(dir, ".");

	step("look", &t, kb);
	index_core_close(&c, 1);
}

int
main(int argc, char **argv)
{
	int n = argc == 4 ? atoi(argv[3]) : 0;

	log_init("bench", LOGL_ERROR);
	if (n <= 0) {
		fprintf(stderr, "usage: bench_scale messages|folders|users|look DIR COUNT\n");
		return 2;
	}
	if (strcmp(argv[1], "look") == 0) {
		look(argv[2]);
		return 0;
	}
	must(mkdir(argv[2], 0700), argv[2]);
	if (strcmp(argv[1], "messages") == 0)
		messages(argv[2], n);
	else if (strcmp(argv[1], "folders") == 0)
		folders(argv[2], n);
	else if (strcmp(argv[1], "users") == 0)
		users(argv[2], n);
	return 0;
}
