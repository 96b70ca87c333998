/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "master/program_check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/launch.h"
#include "lib/mem.h"
#include "lib/service.h"
#include "master/daemons.h"
#include "master/master.h"

enum { TIME_LIMIT_S = 20, WORDS_MAX = 64 * 1024, EXEC_FAILED = 127 };

static void __attribute__((noreturn))
run(const char *path, const struct daemon_def *def, int config, int words)
{
	char *argv[] = {
		(char *)(uintptr_t)def->program, (char *)(uintptr_t)SERVICE_CHECK_OPTION, NULL};
	const int above = LAUNCH_FIRST_FD + 1;
	char env[32];

	config = fcntl(config, F_DUPFD, above);
	if (config < 0 || dup2(words, STDERR_FILENO) < 0 || dup2(config, LAUNCH_FIRST_FD) < 0)
		_exit(EXEC_FAILED);
	close_range(LAUNCH_FIRST_FD + 1, ~0u, 0);
	signal(SIGALRM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	(void)alarm(TIME_LIMIT_S);
	(void)snprintf(env, sizeof(env), "config:%d", LAUNCH_FIRST_FD);
	if (setenv(LAUNCH_ENV_FDS, env, 1) == 0)
		execv(path, argv);
	_exit(EXEC_FAILED);
}

/* A line of the log without its time and level, unless it is there already. */
static void
add_line(struct str line, struct buf *warnings, struct buf *problems)
{
	struct str rest = line, level;
	struct buf *out = NULL;

	str_split(&rest, ' ');
	level = str_split(&rest, ' ');
	if (str_is(level, "error"))
		out = problems;
	else if (str_is(level, "warn"))
		out = warnings;
	if (!out || rest.len == 0 || str_find_str(buf_str(out), rest) < out->len)
		return;
	(void)buf_add_str(out, rest);
	(void)buf_add_char(out, '\n');
}

/* What a daemon could do without, for a while, is a mistake as well. */
static enum err
judge(const char *path, int status, struct str words, struct buf *warnings, struct buf *problems)
{
	int good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	while (words.len)
		add_line(str_split(&words, '\n'), warnings, problems);
	if (!good && problems->len == 0)
		buf_printf(problems, "%s %s: it ended with %s %d\n", path, SERVICE_CHECK_OPTION,
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return problems->len > 0 ? E_PARSE : OK;
}

static enum err
check_one(const struct config *conf, const struct daemon_def *def, struct buf *warnings,
	struct buf *problems)
{
	char *path = mem_printf("%s/%s", conf->program_dir, def->program);
	struct buf words = BUF_INIT(WORDS_MAX);
	int pair[2] = {-1, -1}, config = -1, status = 0;
	char piece[4096];
	pid_t pid = -1;
	ssize_t n;
	enum err e = child_settings_fd(conf, def, &config);

	if (e == OK && pipe2(pair, O_CLOEXEC) != 0)
		e = err_from_errno(errno);
	if (e == OK && (pid = fork()) < 0)
		e = err_from_errno(errno);
	if (pid == 0)
		run(path, def, config, pair[1]);
	io_close(&pair[1]);
	while (pid > 0 &&
		((n = read(pair[0], piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			(void)buf_add(&words, piece, (size_t)n);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (e)
		buf_printf(problems, "%s: cannot be run: %s\n", path, err_text(e));
	else
		e = judge(path, status, buf_str(&words), warnings, problems);
	io_close(&pair[0]);
	io_close(&config);
	buf_free(&words);
	free(path);
	return e;
}

enum err
program_check(const struct config *conf, struct buf *warnings, struct buf *problems)
{
	enum err e = OK;

	for (size_t i = 0; i < daemon_def_count; i++) {
		enum err one = daemon_defs[i].checks
				       ? check_one(conf, &daemon_defs[i], warnings, problems)
				       : OK;

		e = e ? e : one;
	}
	return e;
}
