/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/qmgr_target.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/report.h"

/*
 * A report needs the directory (where does the sender get mail?) and the disk, both of which may be
 * slow. So a child writes it, and qmgr's loop goes on. The child's word is the id of the new
 * message on a pipe, or "-" when there was nobody to write to; silence is a failure.
 */
struct reporter {
	struct qmgr_message *message;
	pid_t pid;
	int fd;
	struct event *event;
};

static int
any_due(const struct qmgr_message *m, int (*is_due)(const struct queue_rcpt *r))
{
	size_t i;

	for (i = 0; i < m->entry.rcpt_count; i++) {
		if (is_due(&m->entry.rcpts[i]))
			return 1;
	}
	return 0;
}

/* Nobody is told that a report of ours takes long. */
static int
delay_is_due(const struct qmgr_message *m)
{
	const struct config *conf = service_conf(m->q->run);
	const struct queue_entry *e = &m->entry;
	int64_t start = e->hold_until > e->arrival ? e->hold_until : e->arrival;
	int64_t age_ms = ((int64_t)time(NULL) - start) * 1000;

	return conf->delay_warning_time > 0 && age_ms >= conf->delay_warning_time && e->sender[0] &&
	       any_due(m, report_delay_is_due);
}

int
qmgr_report_needed(const struct qmgr_message *m)
{
	return any_due(m, report_is_due) || delay_is_due(m);
}

static enum report_kind
kind_of(const struct qmgr_message *m)
{
	return any_due(m, report_is_due) ? REPORT_FINAL : REPORT_DELAY;
}

static int
is_notified(const struct config *conf, const char *class)
{
	return conf_list_has(&conf->notify_classes, str_of(class));
}

/* ---- in the child ---- */

/*
 * To whom? A report about a report goes to the postmaster, and about that one to nobody.
 * E_NOTFOUND: to nobody.
 */
static enum err
choose_target(const struct qmgr *q, const struct queue_entry *e, struct qmgr_target *t)
{
	const struct config *conf = service_conf(q->run);
	enum err err;

	if (e->sender[0] == '\0') {
		if (!(e->flags & QUEUE_BOUNCE) || (e->flags & QUEUE_DOUBLE_BOUNCE) ||
			!is_notified(conf, "2bounce"))
			return E_NOTFOUND;
		err = qmgr_target_postmaster(q, conf->bounce_notice_recipient, t);
		/* Only one of here: no report wanders from postmaster to postmaster. */
		return err == OK && t->found.kind == AUTH_RCPT_REMOTE &&
				       strchr(conf->bounce_notice_recipient, '@') == NULL
			       ? E_NOTFOUND
			       : err;
	}
	t->flags = QUEUE_BOUNCE;
	err = qmgr_target_set(conf, e->sender, t);
	return err ? err : qmgr_target_look_up(q, t);
}

enum { REPORT_HEADER_MAX = 64 * 1024, REPORT_SIZE_MAX = 16 << 20 };

static enum err
read_original(struct qmgr_message *m, int whole, struct buf *out)
{
	uint64_t len = m->entry.content_len;
	enum err e;
	ssize_t n;
	int fd;

	if (!whole && len > REPORT_HEADER_MAX)
		len = REPORT_HEADER_MAX;
	e = queue_store_open(service_conf(m->q->run), m->dir, m->entry.id, O_RDONLY, &fd);
	if (e)
		return e;
	e = buf_reserve(out, (size_t)len + 1);
	while (e == OK && out->len < len) {
		n = pread(fd, out->p + out->len, (size_t)len - out->len,
			(off_t)(m->entry.content_offset + out->len));
		if (n > 0)
			out->len += (size_t)n;
		else if (n == 0 || errno != EINTR)
			e = E_IO;
	}
	close(fd);
	return e;
}

static int
is_for_mailboxes(const struct auth_rcpt *found)
{
	size_t i;

	for (i = 0; i < found->target_count; i++) {
		if (found->targets[i].local != QUEUE_MAILBOX)
			return 0;
	}
	return found->kind != AUTH_RCPT_REMOTE;
}

static enum err
write_report(struct qmgr_message *m, const struct qmgr_target *t, char id[QUEUE_ID_SIZE])
{
	const struct config *conf = service_conf(m->q->run);
	int postmaster = (t->flags & QUEUE_DOUBLE_BOUNCE) != 0;
	int whole = report_returns_whole(&m->entry) && !(postmaster && m->entry.sender[0]);
	unsigned flags = t->flags | (m->entry.flags & QUEUE_REQUIRETLS);
	struct buf original = {0}, text = BUF_INIT(REPORT_SIZE_MAX);
	struct queue_entry out = {0};
	enum err e;

	queue_id_make(id);
	e = read_original(m, whole, &original);
	if (e == OK) {
		struct report r = {
			.kind = kind_of(m),
			.entry = &m->entry,
			.hostname = smtp_hostname(conf),
			.to = t->to,
			.id = id,
			.now = (int64_t)time(NULL),
			.retry_until = m->entry.arrival + conf->maximal_queue_lifetime / 1000,
			.postmaster = postmaster,
			.content = buf_str(&original),
			.whole = whole,
			.stays_here = is_for_mailboxes(&t->found),
		};

		e = report_write(&r, &text);
		if (report_needs_utf8(&r) || (m->entry.flags & QUEUE_SMTPUTF8))
			flags |= QUEUE_SMTPUTF8;
	}
	if (e)
		goto done;
	memcpy(out.id, id, sizeof(out.id));
	out.sender = mem_strdup("");
	out.envid = mem_strdup("");
	out.client = mem_strdup("delivery report");
	out.flags = flags | (str_is_ascii(buf_str(&text)) ? 0 : QUEUE_8BIT);
	out.priority = m->entry.priority; /* RFC 6710 section 4.6 */
	out.arrival = (int64_t)time(NULL);
	qmgr_target_add(t, &out);
	e = queue_store_create(conf, &out, buf_str(&text), NULL);
done:
	queue_entry_free(&out);
	buf_free(&original);
	buf_free(&text);
	return e;
}

static int
is_failed(const struct queue_rcpt *r)
{
	return r->status == QUEUE_FAILED && report_is_due(r);
}

/* What the postmaster wants to see of other people's reports. A copy that fails is no harm. */
static void
copy_to_postmaster(struct qmgr_message *m)
{
	const struct config *conf = service_conf(m->q->run);
	int delay = kind_of(m) == REPORT_DELAY;
	struct qmgr_target t = {0};
	char id[QUEUE_ID_SIZE];

	if (!is_notified(conf, delay ? "delay" : "bounce") || m->entry.sender[0] == '\0' ||
		(!delay && !any_due(m, is_failed)))
		return;
	if (qmgr_target_postmaster(m->q,
		    delay ? conf->delay_notice_recipient : conf->bounce_notice_recipient,
		    &t) == OK &&
		write_report(m, &t, id) == OK) {
		log_event(LOGL_INFO, "qmgr.report copied", "queue_id", m->entry.id, "report", id,
			"to", t.to, NULL);
		/* qmgr finds it with its next scan at the latest. */
		queue_store_notify(conf, id);
	}
}

static void __attribute__((noreturn)) child_main(struct qmgr_message *m, int fd)
{
	struct qmgr_target t = {0};
	char id[QUEUE_ID_SIZE];
	enum err e;

	service_leave_in_child(m->q->run, &fd, 1);
	srs_refresh(m->q->srs);
	copy_to_postmaster(m);
	e = choose_target(m->q, &m->entry, &t);
	if (e == E_NOTFOUND) {
		log_event(LOGL_WARN, "qmgr.report dropped", "queue_id", m->entry.id, "from",
			m->entry.sender, NULL);
		(void)io_write_all(fd, "-", 1);
		_exit(0);
	}
	if (e == OK)
		e = write_report(m, &t, id);
	if (e) {
		log_event(LOGL_WARN, "qmgr.report failed", "queue_id", m->entry.id, "error",
			err_text(e), NULL);
		_exit(1);
	}
	log_event(LOGL_INFO, "qmgr.report queued", "queue_id", m->entry.id, "report", id, "to",
		t.to, NULL);
	(void)io_write_all(fd, id, strlen(id));
	_exit(0);
}

/* ---- in qmgr ---- */

static void
mark_reported(struct qmgr_message *m)
{
	size_t *list = mem_zalloc((m->entry.rcpt_count + 1) * sizeof(*list)), i, n = 0;
	int delay = kind_of(m) == REPORT_DELAY;

	for (i = 0; i < m->entry.rcpt_count; i++) {
		struct queue_rcpt *r = &m->entry.rcpts[i];

		if (delay ? report_delay_is_due(r) : report_is_due(r)) {
			r->reported |= delay ? QUEUE_WARNED : QUEUE_REPORTED;
			list[n++] = i;
		}
	}
	(void)qmgr_record(m, list, n, 1);
	free(list);
}

static void
on_report(evutil_socket_t fd, short what, void *arg)
{
	struct reporter *r = arg;
	struct qmgr_message *m = r->message;
	struct qmgr *q = m->q;
	char id[QUEUE_ID_SIZE + 1];
	ssize_t n = read(fd, id, sizeof(id) - 1);
	int status, ok;

	(void)what;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	id[n > 0 ? n : 0] = '\0';
	ok = n > 0 && (strcmp(id, "-") == 0 || queue_id_valid(str_of(id)));
	event_free(r->event);
	close(r->fd);
	/* It ends right behind its word. */
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	free(r);
	q->reporters--;
	if (ok) {
		mark_reported(m);
		if (id[0] != '-')
			(void)qmgr_take_in(q, QUEUE_INCOMING, id, 0);
	}
	qmgr_report_done(m, ok);
	qmgr_pump(q);
}

void
qmgr_report_start(struct qmgr_message *m)
{
	struct reporter *r;
	int fds[2];
	pid_t pid;

	m->reporting = 1;
	if (pipe2(fds, O_CLOEXEC) != 0) {
		qmgr_report_done(m, 0);
		return;
	}
	pid = fork();
	if (pid == 0)
		child_main(m, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		log_event(LOGL_ERROR, "qmgr.report failed", "queue_id", m->entry.id, "error",
			log_errno(errno), NULL);
		close(fds[0]);
		qmgr_report_done(m, 0);
		return;
	}
	r = MEM_NEW(struct reporter);
	r->message = m;
	r->pid = pid;
	r->fd = fds[0];
	(void)io_set_nonblocking(r->fd, 1);
	r->event = event_new(service_base(m->q->run), r->fd, EV_READ | EV_PERSIST, on_report, r);
	event_add(r->event, NULL);
	m->q->reporters++;
}
