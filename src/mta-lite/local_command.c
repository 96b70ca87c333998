/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/io.h"
#include "mta-lite/local_run.h"

/* A program gets the message on its standard input; what it says and how it ends is the answer. */

/* A shell says with a status above SIGNALLED which signal ended its program. */
enum { OUTPUT_MAX = 4096, LOOK_MS = 100, NOT_RUN = 126, NOT_FOUND = 127, SIGNALLED = 128 };

struct command {
	struct local_run *r;
	const struct local_command *what;
	pid_t pid;
	int in, out; /* our ends; -1 closed */
	struct buf piece; /* not written yet from sent on */
	size_t sent;
	struct buf output; /* the first OUTPUT_MAX bytes */
	int64_t deadline;
	const char *ended; /* why we ended it, or NULL */
	int status;
};

/* ---- the process ---- */

static void __attribute__((noreturn))
command_exec(const struct local_command *what, int in, int out)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGQUIT};
	sigset_t none;
	size_t i;

	/* Of its own, so that it can be ended with all that it started. */
	(void)setsid();
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(NOT_RUN);
	close_range(3, ~0u, 0);
	execve(what->argv[0], what->argv, what->env);
	_exit(NOT_FOUND);
}

static int
start(struct command *c)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	pid_t parent = getpid();

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
		io_close(&in[0]);
		io_close(&in[1]);
		return 0;
	}
	c->pid = fork();
	if (c->pid == 0) {
		if (getppid() != parent)
			_exit(NOT_RUN);
		command_exec(c->what, in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
	(void)io_set_nonblocking(c->in, 1);
	(void)io_set_nonblocking(c->out, 1);
	return c->pid > 0;
}

/* Whatever it started in its group goes with it. */
static void
end(struct command *c, const char *why)
{
	if (c->ended)
		return;
	c->ended = why;
	(void)kill(-c->pid, SIGKILL);
	(void)kill(c->pid, SIGKILL);
}

static void
feed(struct command *c)
{
	ssize_t n;
	enum err e;

	if (c->sent == c->piece.len) {
		buf_reset(&c->piece);
		c->sent = 0;
		e = local_copy_next(c->what->copy, &c->piece);
		if (e && e != E_CLOSED)
			end(c, "the message could not be read");
		if (e) {
			io_close(&c->in);
			return;
		}
	}
	n = write(c->in, c->piece.p + c->sent, c->piece.len - c->sent);
	if (n > 0)
		c->sent += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		io_close(&c->in); /* it has read enough; its exit status tells */
}

/* Beyond what is kept it is read and dropped, so that the command can go on. */
static void
drain(struct command *c)
{
	char chunk[4096];
	ssize_t n = read(c->out, chunk, sizeof(chunk));

	if (n > 0) {
		size_t room = OUTPUT_MAX - c->output.len;

		buf_add(&c->output, chunk, (size_t)n < room ? (size_t)n : room);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		io_close(&c->out);
	}
}

static int
has_ended(struct command *c)
{
	pid_t got = waitpid(c->pid, &c->status, WNOHANG);

	return got == c->pid || (got < 0 && errno != EINTR);
}

/* Until it has ended; what it said until then was read. */
static void
look_after(struct command *c)
{
	int gone = 0;

	while (!gone) {
		struct pollfd p[3] = {{.fd = c->in, .events = POLLOUT},
			{.fd = c->out, .events = POLLIN},
			{.fd = c->r->client, .events = POLLRDHUP}};

		if (c->ended)
			p[2].fd = -1;
		(void)poll(p, 3, LOOK_MS);
		if (c->in >= 0 && p[0].revents)
			feed(c);
		if (c->out >= 0 && p[1].revents)
			drain(c);
		if (p[2].fd >= 0 && p[2].revents)
			end(c, "nobody waits for it any more");
		if (io_now_ms() >= c->deadline)
			end(c, "it took too long");
		if (c->out < 0 || !p[1].revents)
			gone = has_ended(c);
	}
	/* What it wrote last. */
	while (c->out >= 0 && io_wait_readable(c->out, 0) == OK && c->output.len < OUTPUT_MAX) {
		size_t before = c->output.len;

		drain(c);
		if (c->output.len == before)
			break;
	}
}

/* ---- what became of it ---- */

/* sysexits.h; what is not here is 5.3.0. */
static const struct {
	int status;
	const char *dsn;
} exits[] = {{EX_USAGE, "5.3.5"}, {EX_DATAERR, "5.6.0"}, {EX_NOUSER, "5.1.1"}, {EX_NOHOST, "5.1.2"},
	{EX_UNAVAILABLE, "5.3.0"}, {EX_CANTCREAT, "5.2.0"}, {EX_OSERR, "4.3.0"},
	{EX_TEMPFAIL, "4.3.0"}, {EX_PROTOCOL, "5.5.0"}, {EX_NOPERM, "5.7.0"}, {EX_CONFIG, "5.3.5"},
	{NOT_RUN, "4.3.5"}, {NOT_FOUND, "4.3.5"}};

static const char *
dsn_of(int status)
{
	size_t i;

	for (i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
		if (exits[i].status == status)
			return exits[i].dsn;
	}
	return "5.3.0";
}

/* Its first line, which may begin with an enhanced code that says more than the exit status. */
static void
judge(struct command *c)
{
	struct str output = buf_str(&c->output), line = str_trim(str_split(&output, '\n'));
	char dsn[DSN_CODE_SIZE];
	int status = WEXITSTATUS(c->status);
	const char *first;

	if (status == 0) {
		smtp_answer_set(c->r->answer, c->what->done, "2.0.0", "delivered to a command");
		return;
	}
	first = dsn_of(status);
	(void)snprintf(dsn, sizeof(dsn), "%s", first);
	if (dsn_code_cut(&line, dsn) && dsn[0] == '2')
		(void)snprintf(dsn, sizeof(dsn), "%s", first);
	if (line.len > 0)
		smtp_answer_set(c->r->answer, dsn[0] == '4' ? QUEUE_PENDING : QUEUE_FAILED, dsn,
			"%s said: %.*s", c->what->name, STR_ARG(line));
	else
		smtp_answer_set(c->r->answer, dsn[0] == '4' ? QUEUE_PENDING : QUEUE_FAILED, dsn,
			"%s ended with status %d", c->what->name, status);
}

static void
later(struct command *c, const char *why)
{
	smtp_answer_set(c->r->answer, QUEUE_PENDING, "4.3.0", "%s: %s", c->what->name, why);
}

void
local_command_run(struct local_run *r, const struct local_command *what)
{
	struct command c = {.r = r,
		.what = what,
		.in = -1,
		.out = -1,
		.deadline = io_now_ms() + what->time_limit_ms};
	char text[64];

	signal(SIGPIPE, SIG_IGN);
	if (!start(&c)) {
		later(&c, "it could not be started");
	} else {
		look_after(&c);
		if (c.ended) {
			later(&c, c.ended);
		} else if (!WIFEXITED(c.status) || WEXITSTATUS(c.status) > SIGNALLED) {
			(void)snprintf(text, sizeof(text), "it was ended by signal %d",
				WIFEXITED(c.status) ? WEXITSTATUS(c.status) - SIGNALLED
						    : WTERMSIG(c.status));
			later(&c, text);
		} else {
			judge(&c);
		}
	}
	io_close(&c.in);
	io_close(&c.out);
	buf_free(&c.piece);
	buf_free(&c.output);
}
