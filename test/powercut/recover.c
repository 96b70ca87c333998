/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index/core_private.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/queue_file.h"

/*
 * What Roost makes of the files that a power cut left. Commands on standard input, a line each:
 *
 *   mail MAILDIR INDEX KEEP_S
 *                         opens them as roost-index does after a restart of the system, tells what
 *                         is there, and gives each mailbox one more message
 *   queue FILE ID         reads a queue file as roost-qmgr does
 *
 * Answers are lines of fields divided by tabs, then "end". An error is a line "error".
 */

struct dump {
	struct index_core *c;
	const char *maildir;
	uint32_t *ids;
	char (*dirs)[MAILDIR_NAME_MAX + 1];
	size_t count;
};

static enum err
print_message(
	struct core_tx *tx, struct core_box *b, uint32_t uid, struct core_message *m, void *arg)
{
	struct dump *d = arg;
	struct buf path = {0};
	int64_t date = m->r.internal_date;
	struct stat st;
	char *full;

	(void)tx;
	m->r.name.p = m->name;
	index_message_path(str_of(b->dir), &m->r, &path);
	full = mem_printf("%s/%s", d->maildir, buf_cstr(&path));
	if (date == 0 && stat(full, &st) == 0)
		date = st.st_mtime;
	printf("message\t%" PRIu32 "\t%u\t%" PRId64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\n", uid,
		m->r.flags, date, m->r.size, m->r.disk_size, full);
	free(full);
	buf_free(&path);
	return OK;
}

static enum err
print_step(struct core_tx *tx, void *arg)
{
	struct core_box *boxes = NULL;
	struct dump *d = arg;
	enum err e = core_box_list(tx, &boxes, &d->count);

	if (e)
		return e;
	d->ids = mem_zalloc((d->count + 1) * sizeof(*d->ids));
	d->dirs = mem_zalloc((d->count + 1) * sizeof(*d->dirs));
	for (size_t i = 0; i < d->count && e == OK; i++) {
		const struct index_mailbox_record *r = &boxes[i].r;

		d->ids[i] = r->id;
		snprintf(d->dirs[i], sizeof(d->dirs[i]), "%s", boxes[i].dir);
		printf("mailbox\t%s\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu32 "\n",
			boxes[i].name, r->uidvalidity, r->uidnext, r->highest_modseq, r->messages);
		e = core_each(tx, &boxes[i], NULL, print_message, d);
	}
	free(boxes);
	return e;
}

/* One more message; its UID shows what the next one is. */
static enum err
add_message(struct dump *d, size_t i)
{
	static const char text[] = "Subject: after the power came back\n\nHello.\n";
	char *path =
		mem_printf("%s%s%s/tmp/1.after", d->maildir, d->dirs[i][0] ? "/" : "", d->dirs[i]);
	struct index_core_append m = {.tmp_name = STR("1.after"), .size = sizeof(text) + 2};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint32_t uidvalidity, uid;
	uint64_t modseq;
	enum err e = fd < 0 ? E_IO : io_write_all(fd, text, sizeof(text) - 1);

	io_close(&fd);
	free(path);
	if (e == OK)
		e = index_core_append(d->c, d->ids[i], &m, 1, &uidvalidity, &modseq, &uid);
	if (e == OK)
		printf("next\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\n", uidvalidity, uid, modseq);
	return e;
}

static enum err
do_mail(const char *maildir, const char *index_dir, int keep_s)
{
	static const char *const none[] = {NULL};
	struct index_core_options o = {.maildir = maildir,
		.index_dir = index_dir,
		.host = "mail.example.test",
		.boot_id = "another-boot",
		.default_mailboxes = none,
		.map_size = 1 << 20,
		.expunge_keep_s = keep_s};
	struct dump d = {.maildir = maildir};
	enum err e = index_core_open(&o, &d.c);

	if (e == OK)
		e = index_core_refresh(d.c, 0);
	while (e == OK && index_core_background(d.c))
		;
	if (e == OK)
		e = core_read(d.c, print_step, &d);
	for (size_t i = 0; i < d.count && e == OK; i++)
		e = add_message(&d, i);
	index_core_close(&d.c, 0);
	free(d.ids);
	free(d.dirs);
	return e;
}

static enum err
do_queue(const char *path, const char *id)
{
	struct queue_entry q;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum err e = fd < 0 ? E_NOTFOUND : queue_file_load(fd, id, &q);

	io_close(&fd);
	if (e)
		return e;
	printf("entry\t%s\t%" PRIu64 "\t%" PRIu64 "\n", q.sender, q.content_offset, q.content_len);
	for (size_t i = 0; i < q.rcpt_count; i++)
		printf("recipient\t%s\t%s\t%d\n", q.rcpts[i].address,
			queue_status_word(q.rcpts[i].status), q.rcpts[i].reported);
	queue_entry_free(&q);
	return OK;
}

int
main(void)
{
	char line[4096], first[2048], second[2048];
	int keep_s;

	log_set_level(LOGL_ERROR);
	while (fgets(line, sizeof(line), stdin)) {
		enum err e = E_PARSE;

		if (sscanf(line, "mail %2047s %2047s %d", first, second, &keep_s) == 3)
			e = do_mail(first, second, keep_s);
		else if (sscanf(line, "queue %2047s %2047s", first, second) == 2)
			e = do_queue(first, second);
		if (e)
			printf("error\t%s\n", err_word(e));
		printf("end\n");
		fflush(stdout);
	}
	return 0;
}
