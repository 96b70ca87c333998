/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "import/import.h"

#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "lib/io.h"
#include "lib/launch.h"
#include "lib/mem.h"
#include "lib/sandbox.h"

enum { SHOW_TERMINAL_MS = 300, SHOW_LINE_MS = 30 * 1000, REOPEN_TRIES = 120, REOPEN_MS = 500 };

/* ---- whose rights ---- */

/* All that is left of root: reading. */
static enum err
keep_reading(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	data[0].permitted = data[0].effective = 1u << CAP_DAC_READ_SEARCH;
	return syscall(SYS_capset, &head, data) == 0 ? OK : E_ACCESS;
}

enum err
import_become_mail_user(const struct config *conf, unsigned may)
{
	struct buf user = {0};
	enum err e;

	if (geteuid() != 0)
		return OK;
	e = launch_user_format(conf->mail_user, &user);
	if (e == OK && setenv(LAUNCH_ENV_USER, buf_cstr(&user), 1) != 0)
		e = E_IO;
	if (e == OK && may & IMPORT_MAY_READ_ALL && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		e = E_ACCESS;
	if (e == OK)
		e = launch_drop_privileges();
	if (e == OK && may & IMPORT_MAY_READ_ALL)
		e = keep_reading();
	if (e)
		tool_error("cannot become %s, who owns the mail: %s", conf->mail_user, err_text(e));
	buf_free(&user);
	return e;
}

enum err
import_sandbox(struct import *im, const char *path, unsigned can)
{
	struct sandbox *sb = sandbox_create();
	enum err e;

	index_sandbox_allow(im->user, sb);
	/* Names and certificates of hosts, time zones, what the C library loads for them. */
	sandbox_allow_path(sb, "/etc", SANDBOX_READ);
	sandbox_allow_path(sb, "/usr", SANDBOX_READ | SANDBOX_EXEC);
	sandbox_allow_path(sb, "/lib", SANDBOX_READ | SANDBOX_EXEC);
	if (path)
		sandbox_allow_path(sb, path, SANDBOX_READ);
	if (can & IMPORT_CAN_CONNECT) {
		sandbox_allow_path(sb, "/run", SANDBOX_READ);
		sandbox_allow(sb, SANDBOX_CAN_CONNECT_TCP | SANDBOX_CAN_UDP);
	}
	e = sandbox_enter(sb);
	sandbox_free(&sb);
	if (e && e != E_UNSUPPORTED)
		tool_error("the sandbox cannot be closed: %s", err_text(e));
	return e == E_UNSUPPORTED ? OK : e;
}

/* ---- beginning and end ---- */

enum err
import_begin(struct tool *t, const char *address, unsigned may, struct import *im)
{
	struct auth_client *auth = auth_client_create(t->conf);
	struct auth_user user;
	enum err e = auth_lookup_user(auth, str_of(address), &user, NULL);

	*im = (struct import){.tool = t, .begin_ms = io_now_ms(), .is_terminal = isatty(2)};
	im->errors = json_array();
	im->shown_ms = im->begin_ms;
	if (e)
		tool_user_error(address, e);
	else
		e = import_become_mail_user(t->conf, may);
	if (e == OK) {
		im->name = mem_strdup(user.name);
		im->home = mem_strdup(user.home);
		e = index_open(t->conf, &user, &im->user);
		if (e)
			tool_error("%s: the mail cannot be opened: %s", address, err_text(e));
	}
	auth_user_free(&user);
	auth_client_free(&auth);
	return e;
}

enum err
import_reopen(struct import *im)
{
	enum err e = E_TEMPFAIL;

	index_close(&im->user);
	for (int tries = 0; e == E_TEMPFAIL && tries < REOPEN_TRIES; tries++) {
		struct auth_client *auth = auth_client_create(im->tool->conf);
		struct auth_user user;

		(void)poll(NULL, 0, tries ? REOPEN_MS : 0);
		e = auth_lookup_user(auth, str_of(im->name), &user, NULL);
		if (e == OK)
			e = index_open(im->tool->conf, &user, &im->user);
		auth_user_free(&user);
		auth_client_free(&auth);
	}
	if (e)
		tool_error("%s: the mail cannot be opened: %s", im->name, err_text(e));
	return e;
}

enum err
import_end(struct import *im, enum err e)
{
	json_t *summary;

	import_progress_break(im);
	if (im->name) {
		summary = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "user",
			im->name, "mailboxes", (json_int_t)im->mailboxes, "messages",
			(json_int_t)im->messages, "bytes", (json_int_t)im->bytes, "present",
			(json_int_t)im->present, "flags_changed", (json_int_t)im->flags_changed,
			"failed", (json_int_t)im->failed, "seconds",
			(json_int_t)((io_now_ms() - im->begin_ms) / 1000), "complete",
			e == OK && im->failed == 0);
		if (im->tool->json)
			json_object_set(summary, "errors", im->errors);
		tool_print(im->tool, &summary, NULL);
	}
	if (e == OK && im->failed)
		e = E_NOTFOUND;
	index_close(&im->user);
	json_decref(im->errors);
	MEM_FREE(im->name);
	MEM_FREE(im->home);
	return e;
}

void
import_failed(struct import *im, const char *mailbox, const char *what, const char *why)
{
	im->failed++;
	import_progress_break(im);
	tool_error("%s%s%s: %s", mailbox, what ? ", " : "", what ? what : "", why);
	if (json_array_size(im->errors) >= IMPORT_ERRORS_MAX)
		return;
	json_array_append_new(im->errors,
		json_pack("{s:s?, s:s?, s:s}", "mailbox", mailbox, "message", what, "error", why));
}

/* ---- how far it is ---- */

void
import_progress_break(struct import *im)
{
	if (im->line_open)
		fputc('\n', stderr);
	im->line_open = 0;
}

static void
show(struct import *im, int64_t now)
{
	double seconds = (double)(now - im->begin_ms) / 1000, mib = (double)im->bytes / 1048576;
	uint64_t done = im->messages + im->present + im->failed;
	double part = im->expected_bytes ? (double)im->read_bytes / (double)im->expected_bytes
		      : im->expected	 ? (double)done / (double)im->expected
					 : 0;

	fprintf(stderr, "%s%llu messages, %.1f MiB, %.0f messages/s, %.1f MiB/s",
		im->is_terminal ? "\r\033[K" : "roostctl: ", (unsigned long long)done, mib,
		seconds > 0 ? (double)done / seconds : 0, seconds > 0 ? mib / seconds : 0);
	if (part > 0 && part < 1) {
		uint64_t left = (uint64_t)(seconds / part * (1 - part));

		fprintf(stderr, ", %llu:%02llu:%02llu left", (unsigned long long)(left / 3600),
			(unsigned long long)(left / 60 % 60), (unsigned long long)(left % 60));
	}
	if (im->where)
		fprintf(stderr, ", %s", im->where);
	if (im->is_terminal)
		fflush(stderr);
	else
		fputc('\n', stderr);
	im->line_open = im->is_terminal;
}

void
import_progress(struct import *im)
{
	int64_t now = io_now_ms();

	if (now - im->shown_ms < (im->is_terminal ? SHOW_TERMINAL_MS : SHOW_LINE_MS))
		return;
	im->shown_ms = now;
	show(im, now);
}
