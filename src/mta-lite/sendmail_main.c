/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/sendmail.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/ctl.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"
#include "mail/header.h"
#include "mta-lite/ehlo.h"
#include "mta-lite/smtp_client.h"
#include "mta-lite/smtp_path.h"

enum { SENDMAIL_HEADER_MAX = SPOOL_MEMORY_MAX };

/* The message, with its header rewritten if need be. */
struct message {
	struct buf head;
	struct spool body;
	int has_8bit;
};

static int
complain(const char *what, const char *why)
{
	(void)fprintf(stderr, "sendmail: %s: %s\n", what, why);
	return EX_USAGE;
}

static struct config *
load_config(const char *path)
{
	struct buf problems = {0};
	struct config *conf = NULL;

	if (path == NULL)
		path = getenv("ROOST_CONF");
	if (path == NULL)
		path = ROOST_SYSCONFDIR "/roost.conf";
	if (conf_load(path, &problems, &conf))
		(void)fprintf(stderr, "sendmail: %s: %s\n", path,
			problems.len ? buf_cstr(&problems) : "cannot be read");
	buf_free(&problems);
	return conf;
}

/* Reads standard input to its end, or to a line with a dot alone. */
static enum err
read_message(struct message *m, int dot_is_text)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int in_header = 1;
	enum err e = OK;

	while (e == OK && (n = getline(&line, &size, stdin)) > 0) {
		struct str s = str_make(line, (size_t)n);

		if (!dot_is_text && (str_is(s, ".\n") || str_is(s, ".\r\n")))
			break;
		if (!str_is_ascii(s))
			m->has_8bit = 1;
		if (in_header && m->head.len + s.len <= SENDMAIL_HEADER_MAX) {
			(void)buf_add_str(&m->head, s);
			in_header = !str_is(s, "\n") && !str_is(s, "\r\n");
		} else {
			in_header = 0;
			e = spool_add(&m->body, s);
		}
	}
	if (e == OK && ferror(stdin))
		e = E_IO;
	free(line);
	return e;
}

static enum err
read_content(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct message *m = arg;

	if (offset < m->head.len) {
		*out = str_make(m->head.p + offset, m->head.len - (size_t)offset);
		return OK;
	}
	return spool_read(&m->body, offset - m->head.len, p, size, out);
}

/* A bare name is a user of this machine. */
static int
full_address(const struct config *conf, const char *text, char out[SMTP_ADDRESS_SIZE])
{
	struct smtp_path path;
	int n;

	if (strcmp(text, "<>") == 0 || text[0] == '\0') {
		out[0] = '\0';
		return 1;
	}
	if (text[0] == '<') {
		struct str s = str_of(text);

		if (smtp_path_cut(&s, &path) || s.len > 0)
			return 0;
	} else if (smtp_mailbox_parse(str_of(text), &path)) {
		return 0;
	}
	if (path.domain)
		n = snprintf(out, SMTP_ADDRESS_SIZE, "%s", path.address);
	else
		n = snprintf(out, SMTP_ADDRESS_SIZE, "%s@%s", path.address, smtp_hostname(conf));
	return n > 0 && n < SMTP_ADDRESS_SIZE;
}

static int
exit_status(const struct smtp_answer *a)
{
	if (a->status == QUEUE_DELIVERED || a->status == QUEUE_RELAYED)
		return EX_OK;
	if (a->status == QUEUE_PENDING)
		return EX_TEMPFAIL;
	return strncmp(a->dsn, "5.1.", 4) == 0 ? EX_NOUSER : EX_UNAVAILABLE;
}

/* One transaction with run/sendmail. */
static int
hand_over(const struct config *conf, const struct smtp_send *m)
{
	char *path = conf_run_path(conf, "sendmail");
	struct smtp_answer *answers = mem_zalloc((m->rcpt_count + 1) * sizeof(*answers));
	struct smtp_answer why = {0};
	struct smtp_client *c = NULL;
	int fd, sent, status = EX_OK;
	size_t i;

	if (net_connect_unix(path, 10000, &fd) == OK) {
		c = smtp_client_create(fd, "localhost", 0);
		if (smtp_client_hello(c, &why) == OK)
			(void)smtp_client_send(c, m, answers, &sent);
	} else {
		smtp_answer_set(&why, QUEUE_PENDING, "4.4.1", "cannot connect to %s: %s", path,
			strerror(errno));
	}
	smtp_client_free(&c);
	if (why.text) {
		(void)fprintf(stderr, "sendmail: %s\n", why.text);
		status = EX_TEMPFAIL;
	}
	for (i = 0; i < m->rcpt_count && !why.text; i++) {
		int s = exit_status(&answers[i]);

		if (s != EX_OK)
			(void)fprintf(
				stderr, "sendmail: %s: %s\n", m->rcpts[i].address, answers[i].text);
		if (s != EX_OK && status != EX_TEMPFAIL)
			status = s;
	}
	for (i = 0; i < m->rcpt_count; i++)
		smtp_answer_free(&answers[i]);
	smtp_answer_free(&why);
	free(answers);
	free(path);
	return status;
}

static int
collect_rcpts(const struct config *conf, const struct sendmail *opt, struct smtp_send_rcpt *rcpts,
	char (*texts)[SMTP_ADDRESS_SIZE], size_t *count)
{
	size_t i, n = 0, from_args = opt->rcpt_count;

	for (i = 0; i < from_args + opt->header_rcpts.count; i++) {
		const char *text =
			i < from_args ? opt->rcpts[i] : opt->header_rcpts.items[i - from_args];

		if (!full_address(conf, text, texts[n]) || texts[n][0] == '\0')
			return complain(text, "not an address");
		rcpts[n] = (struct smtp_send_rcpt){texts[n], "", opt->notify};
		n++;
	}
	*count = n;
	return n ? EX_OK : complain("no recipients", "name some, or use -t");
}

static int
send_message(const struct config *conf, struct sendmail *opt, struct message *m)
{
	char sender[SMTP_ADDRESS_SIZE], (*texts)[SMTP_ADDRESS_SIZE];
	const struct passwd *pw = getpwuid(getuid());
	struct smtp_send send = {.read = read_content, .arg = m, .ret = opt->ret};
	struct smtp_send_rcpt *rcpts;
	struct buf head = {0};
	size_t n = opt->rcpt_count, max;
	int status;

	if (opt->from_header) {
		sendmail_header(buf_str(&m->head), &opt->header_rcpts, &head);
		buf_free(&m->head);
		m->head = head;
	}
	if (!full_address(conf, opt->sender ? opt->sender : pw ? pw->pw_name : "root", sender))
		return complain(opt->sender ? opt->sender : "sender", "not an address");
	max = n + opt->header_rcpts.count + 1;
	rcpts = mem_zalloc(max * sizeof(*rcpts));
	texts = mem_zalloc(max * sizeof(*texts));
	status = collect_rcpts(conf, opt, rcpts, texts, &send.rcpt_count);
	if (status == EX_OK) {
		send.sender = sender;
		send.envid = opt->envid ? opt->envid : "";
		send.has_8bit = m->has_8bit;
		send.size = m->head.len + m->body.size;
		send.rcpts = rcpts;
		status = hand_over(conf, &send);
	}
	free(rcpts);
	free(texts);
	return status;
}

static int
deliver(const struct config *conf, struct sendmail *opt)
{
	struct message m = {.head = BUF_INIT(SENDMAIL_HEADER_MAX + 1)};
	int status = EX_TEMPFAIL;
	size_t i;

	spool_init(&m.body, "/tmp");
	if (read_message(&m, opt->dot_is_text) == OK)
		status = send_message(conf, opt, &m);
	for (i = 0; i < opt->header_rcpts.count; i++)
		free(opt->header_rcpts.items[i]);
	free(opt->header_rcpts.items);
	buf_free(&m.head);
	spool_free(&m.body);
	return status;
}

/* -bs: the caller speaks SMTP itself. */
static int
pump(const struct config *conf)
{
	char *path = conf_run_path(conf, "sendmail"), chunk[16 * 1024];
	struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};
	int fd;

	if (net_connect_unix(path, 10000, &fd)) {
		free(path);
		(void)fprintf(stderr, "sendmail: the mail system is not running\n");
		return EX_TEMPFAIL;
	}
	free(path);
	p[1].fd = fd;
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		int i;

		for (i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, chunk, sizeof(chunk)) : -1;

			if (n > 0 && io_write_all(i == 0 ? fd : 1, chunk, (size_t)n))
				n = 0;
			if (n == 0 && i == 1) {
				close(fd);
				return EX_OK;
			}
			if (n == 0) {
				(void)shutdown(fd, SHUT_WR);
				p[0].fd = -1;
			}
		}
	}
	close(fd);
	return EX_IOERR;
}

static int
flush_queue(const struct config *conf)
{
	json_t *result = NULL;
	char *message = NULL;

	if (ctl_call(conf, "qmgr", "queue-flush", NULL, &result, &message)) {
		(void)fprintf(stderr, "sendmail: %s\n", message);
		free(message);
		return EX_TEMPFAIL;
	}
	json_decref(result);
	return EX_OK;
}

int
main(int argc, char **argv)
{
	struct sendmail opt;
	struct config *conf;
	const char *wrong = "";
	int status;

	log_init("sendmail", LOGL_ERROR);
	if (sendmail_args(argc, argv, &opt, &wrong))
		return complain(wrong, "not understood");
	conf = load_config(opt.config);
	if (conf == NULL)
		return EX_CONFIG;
	if (opt.mode == SENDMAIL_QUEUE)
		status = sendmail_print_queue(conf);
	else if (opt.mode == SENDMAIL_ALIASES)
		status = sendmail_check_aliases(conf);
	else if (opt.mode == SENDMAIL_SMTP)
		status = pump(conf);
	else if (opt.flush && opt.rcpt_count == 0 && !opt.from_header)
		status = flush_queue(conf);
	else
		status = deliver(conf, &opt);
	conf_free(&conf);
	return status;
}
