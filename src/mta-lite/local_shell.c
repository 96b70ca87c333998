/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <time.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/address_split.h"
#include "mta-lite/local_run.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The command of an alias or a .forward is a line for the shell. Nothing of the mail is in it: what
 * the command may want to know of the envelope is in its environment, without signs that mean
 * something to a shell.
 */

void
local_environment_set(struct local_environment *env, const char *name, struct str value)
{
	static const char safe[] = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char *text = mem_printf("%s=%.*s", name, STR_ARG(value));
	size_t start = strlen(name) + 1, i;

	ROOST_ASSERT(env->n + 1 < LOCAL_ENVIRONMENT_MAX);
	for (i = start; text[i]; i++) {
		/* Nor is it taken for an option. */
		if (strchr(safe, text[i]) == NULL || (i == start && text[i] == '-'))
			text[i] = '_';
	}
	env->v[env->n++] = text;
}

void
local_environment_set_user(struct local_environment *env)
{
	const struct passwd *pw = getpwuid(geteuid());
	const char *name = pw ? pw->pw_name : "nobody";

	local_environment_set(env, "PATH", STR("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
	local_environment_set(env, "HOME", str_of(pw ? pw->pw_dir : "/"));
	local_environment_set(env, "USER", str_of(name));
	local_environment_set(env, "LOGNAME", str_of(name));
}

void
local_environment_free(struct local_environment *env)
{
	while (env->n > 0)
		free(env->v[--env->n]);
}

static void
set_recipient(struct local_environment *env, const struct config *conf, const char *recipient)
{
	struct str all = str_of(recipient), local, domain = {NULL, 0}, extension = {NULL, 0}, user;
	const char *at = strrchr(recipient, '@');
	size_t cut;

	local = at ? str_make(recipient, (size_t)(at - recipient)) : all;
	if (at)
		domain = str_of(at + 1);
	user = local;
	cut = address_extension_start(local, conf->recipient_delimiter[0]);
	if (cut < local.len) {
		extension = str_make(local.p + cut + 1, local.len - cut - 1);
		user.len = cut;
	}
	local_environment_set(env, "RECIPIENT", all);
	local_environment_set(env, "LOCAL", local);
	local_environment_set(env, "DOMAIN", domain);
	local_environment_set(env, "EXTENSION", extension);
	local_environment_set(env, "ALIAS", user);
}

static void
make_environment(struct local_environment *env, const struct local_run *r)
{
	const struct passwd *pw = r->job->forward ? getpwuid(geteuid()) : NULL;

	local_environment_set(env, "SHELL", pw ? str_of(pw->pw_shell) : STR("/bin/sh"));
	local_environment_set_user(env);
	local_environment_set(
		env, "SENDER", str_of(r->job->sender[0] ? r->job->sender : "MAILER-DAEMON"));
	local_environment_set(env, "ORIGINAL_RECIPIENT",
		str_of(r->job->original[0] ? r->job->original : r->job->recipient));
	set_recipient(env, r->conf, r->job->recipient);
}

void
local_shell_run(struct local_run *r)
{
	char *argv[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
		(char *)(uintptr_t) "--", r->job->target + 1, NULL};
	char *name = mem_printf("the command of %s", r->job->recipient);
	struct local_environment env = {{NULL}, 0};
	struct local_copy copy;
	const struct local_command what = {.argv = argv,
		.env = env.v,
		.copy = &copy,
		.name = name,
		.time_limit_ms = r->conf->command_time_limit,
		.done = QUEUE_DELIVERED};

	make_environment(&env, r);
	local_copy_init(
		&copy, r->file, r->job->content_offset, r->job->content_len, LOCAL_COPY_FROM);
	local_copy_head(
		&copy, r->job->sender, r->job->recipient, r->job->original, (int64_t)time(NULL));
	local_command_run(r, &what);
	log_event(LOGL_INFO, "local.command", "to", r->job->recipient, "dsn", r->answer->dsn,
		"status", r->answer->text, NULL);
	local_copy_free(&copy);
	local_environment_free(&env);
	free(name);
}
