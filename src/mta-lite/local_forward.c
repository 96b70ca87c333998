/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/forward_path.h"
#include "mta-lite/list_file.h"
#include "mta-lite/local_run.h"
#include "mta-lite/queue_file.h"

/*
 * The .forward of a user of this machine, read as that user. Whatever is wrong with one lets the
 * mail wait: it may well say that the mail must not go into the mailbox.
 */

/* In one .forward with all that it includes. */
enum { FILES_MAX = 100, NESTING_MAX = 10, BYTES_MAX = 4 << 20 };
/* A home may be on a file system that never answers. */
enum { READ_TIME_S = 60 };

struct reading {
	const struct config *conf;
	struct forward *f;
	struct forward_names names;
	char *user, *home, *shell;
	uid_t uid;
	gid_t gid;
	unsigned files;
	size_t bytes;
};

static void
fail(struct reading *r, const char *what, const char *why)
{
	if (r->f->state == FORWARD_FAILED)
		return;
	r->f->state = FORWARD_FAILED;
	r->f->why = mem_printf("%s: %s", what, why);
}

/* ---- the user ---- */

/* 1: there is one. A failure of the lookup is not "none". */
static int
find_user(struct reading *r, struct str name)
{
	char *lower = str_dup(name);
	const struct passwd *pw;
	size_t i;

	for (i = 0; lower[i]; i++)
		lower[i] = str_lower(lower[i]);
	errno = 0;
	pw = lower[0] ? getpwnam(lower) : NULL;
	if (pw == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		fail(r, lower, "the users of the system cannot be looked up");
	if (pw) {
		r->user = mem_strdup(pw->pw_name);
		r->home = mem_strdup(pw->pw_dir);
		r->shell = mem_strdup(pw->pw_shell);
		r->uid = pw->pw_uid;
		r->gid = pw->pw_gid;
	}
	free(lower);
	return pw != NULL;
}

/* By the whole local part, else by that without its extension. */
static int
find_recipient(struct reading *r, struct str address)
{
	forward_names_set(&r->names, address, r->conf->recipient_delimiter);
	if (find_user(r, r->names.local))
		r->names.extension = r->names.delimiter = str_make("", 0);
	else if (r->f->state == FORWARD_FAILED || r->names.user.len == r->names.local.len ||
		 !find_user(r, r->names.user))
		return 0;
	r->names.user = str_of(r->user);
	r->names.home = str_of(r->home);
	r->names.shell = str_of(r->shell);
	return 1;
}

/* 0: this one has none, or *f says why it cannot be told. */
static int
become(struct reading *r)
{
	/* Roost as an ordinary user can only be that user. */
	if (geteuid() != 0)
		return r->uid == geteuid();
	if (local_user_is_ours(r->conf, r->uid))
		return 0;
	/* Nothing is done as root but to read what root wrote. */
	if (r->uid == 0 || local_user_set(r->uid, r->gid))
		return 1;
	fail(r, r->user, "the system does not let go of root");
	return 0;
}

/* ---- the file ---- */

static int
is_his(const void *arg, uid_t owner)
{
	const struct reading *r = arg;

	return owner == 0 || owner == r->uid;
}

static enum err
read_file(struct reading *r, const char *path, struct buf *text)
{
	const struct list_file_rules rules = {is_his, r, "its owner is neither the user nor root"};
	const char *problem;
	enum err e = list_file_read(path, &rules, text, &problem);

	if (e && e != E_NOTFOUND)
		fail(r, path, problem);
	r->bytes += text->len;
	if (++r->files > FILES_MAX || r->bytes > BYTES_MAX)
		fail(r, path, "there is too much in it");
	return e;
}

static void read_lines(struct reading *r, const char *path, struct str text, unsigned depth);

static void
follow(struct reading *r, const char *path, unsigned depth)
{
	struct buf text = {0};

	if (depth > NESTING_MAX)
		fail(r, path, "the files nest too deeply");
	else if (read_file(r, path, &text) == E_NOTFOUND)
		fail(r, path, "there is no such file");
	else
		read_lines(r, path, buf_str(&text), depth);
	buf_free(&text);
}

static void
read_list(struct reading *r, const char *where, struct str list, unsigned depth)
{
	struct alias_item item = {0};
	const char *problem;
	enum err e;

	while (r->f->state != FORWARD_FAILED &&
		(e = alias_list_next(&list, &item, &problem)) != E_NOTFOUND) {
		if (e)
			fail(r, where, problem);
		else if (item.kind == ALIAS_INCLUDE)
			follow(r, buf_cstr(&item.text), depth + 1);
		else if (r->f->count >= QUEUE_RCPTS_MAX)
			fail(r, where, "it leads to too many recipients");
		else
			forward_add(r->f, &item, where)->included = depth > 0;
	}
	buf_free(&item.text);
}

static void
read_lines(struct reading *r, const char *path, struct str text, unsigned depth)
{
	struct list_file_lines lines = {.rest = text};
	struct buf where = {0};
	struct str list;

	while (r->f->state != FORWARD_FAILED && list_file_next(&lines, &list)) {
		buf_reset(&where);
		buf_printf(&where, "%s:%u", path, lines.line);
		read_list(r, buf_cstr(&where), list, depth);
	}
	buf_free(&where);
}

/* 1: it is there, and counts, whatever is in it. */
static int
read_first(struct reading *r, const char *pattern)
{
	struct buf path = {0}, text = {0};
	enum err e = forward_path_expand(str_of(pattern), &r->names, &path);
	int there = 0;

	if (e == E_PARSE || (e == OK && buf_cstr(&path)[0] != '/')) {
		fail(r, "forward_path", "a name that makes no path");
	} else if (e == OK) {
		there = read_file(r, buf_cstr(&path), &text) != E_NOTFOUND;
		if (there)
			read_lines(r, buf_cstr(&path), buf_str(&text), 0);
	}
	if (there)
		r->f->path = mem_strdup(buf_cstr(&path));
	buf_free(&path);
	buf_free(&text);
	return there;
}

void
local_forward_read(const struct config *conf, struct str address, struct forward *out)
{
	struct reading r = {.conf = conf, .f = out};
	size_t i = 0;

	memset(out, 0, sizeof(*out));
	(void)alarm(READ_TIME_S);
	if (find_recipient(&r, address) && become(&r)) {
		while (out->state != FORWARD_FAILED && i < conf->forward_path.count &&
			!read_first(&r, conf->forward_path.items[i]))
			i++;
	}
	(void)alarm(0);
	if (out->state == FORWARD_FAILED)
		log_event(LOGL_WARN, "local.forward failed", "user", r.user ? r.user : "", "error",
			out->why, NULL);
	else if (out->count > 0)
		out->state = FORWARD_FOUND;
	if (out->state == FORWARD_FOUND)
		out->user = mem_strdup(r.user);
	free(r.user);
	free(r.home);
	free(r.shell);
}
