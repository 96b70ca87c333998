/* SPDX-License-Identifier: MIT */
#include "lib/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <confuse.h>

#include "lib/conf_value.h"
#include "lib/io.h"
#include "lib/mem.h"

enum { UNKNOWN_MAX = 32, HOSTNAME_MAX = 255, CONF_FILE_MAX = 4 << 20, CONF_READ_CHUNK = 16384 };

/* ---- the life of a struct config ---- */

/* Splits text at blanks and sets the row from the pieces; other types take the text whole. */
static enum err
set_from_text(struct config *conf, size_t i, const char *text, struct buf *why)
{
	const char **items = NULL;
	char *copy, *save = NULL;
	size_t n = 0;
	enum err e;

	if (conf_defs()[i].type != CONF_LIST)
		return conf_value_set(conf, i, &text, 1, why);
	copy = mem_strdup(text);
	for (char *item = strtok_r(copy, " \t\n", &save); item;
		item = strtok_r(NULL, " \t\n", &save)) {
		items = mem_realloc(items, n + 1, sizeof(*items));
		items[n++] = item;
	}
	e = conf_value_set(conf, i, items, n, why);
	free(items);
	free(copy);
	return e;
}

static struct config *
conf_create(void)
{
	struct config *conf = MEM_NEW(struct config);
	size_t count;
	const struct conf_row *rows = conf_rows(&count);

	for (size_t i = 0; i < count; i++)
		set_from_text(conf, i, rows[i].def, NULL);
	return conf;
}

enum err
conf_copy(const struct config *conf, struct config **out)
{
	int fd;
	enum err e = conf_to_memfd(conf, &fd);

	*out = NULL;
	if (e)
		return e;
	e = conf_load_fd(fd, out);
	io_close(&fd);
	return e;
}

void
conf_free(struct config **conf)
{
	size_t count;

	if (!*conf)
		return;
	conf_rows(&count);
	for (size_t i = 0; i < count; i++)
		conf_value_free(*conf, i);
	MEM_FREE(*conf);
}

static void
fill_path(char **path, const char *state_dir, const char *name)
{
	if (**path)
		return;
	free(*path);
	*path = mem_printf("%s/%s", state_dir, name);
}

/* What an empty setting stands for. */
static void
conf_fill(struct config *conf)
{
	fill_path(&conf->mail_dir, conf->state_dir, "mail");
	fill_path(&conf->queue_dir, conf->state_dir, "queue");
	fill_path(&conf->sqlite_path, conf->state_dir, "db/roost.db");
	if (!*conf->hostname) {
		char name[HOSTNAME_MAX + 1] = "";

		gethostname(name, sizeof(name) - 1);
		free(conf->hostname);
		conf->hostname = mem_strdup(*name ? name : "localhost");
	}
}

struct config *
conf_defaults(const char *state_dir)
{
	struct config *conf = conf_create();

	free(conf->state_dir);
	conf->state_dir = mem_strdup(state_dir);
	conf_fill(conf);
	return conf;
}

enum err
conf_set(struct config *conf, const char *name, const char *value, struct buf *why)
{
	int i = conf_find(name);

	return i < 0 ? E_NOTFOUND : set_from_text(conf, (size_t)i, value, why);
}

void
conf_value_text(const struct config *conf, const char *name, struct buf *out)
{
	int i = conf_find(name);

	if (i >= 0)
		conf_value_write(conf, (size_t)i, out);
}

char *
conf_run_path(const struct config *conf, const char *name)
{
	return mem_printf("%s/run/%s", conf->state_dir, name);
}

/* ---- the file ---- */

/*
 * One reading of a file. A name that is no setting ends libconfuse's pass; the file is read again
 * with that name known, so that everything wrong is found at once. libconfuse's callbacks have no
 * argument of ours, hence the pointer below.
 */
struct load {
	const char *path;
	struct config *conf;
	struct buf unknown_problems; /* of all passes */
	struct buf problems; /* of this pass */
	char *unknown[UNKNOWN_MAX];
	size_t unknown_count;
	int retry;
	struct buf said; /* the problem of a list's last item; empty: there was none */
};
static _Thread_local struct load *loading;

static void
unknown_setting(int line, const char *name)
{
	const char *near = conf_nearest(name);

	buf_printf(&loading->unknown_problems, "%s:%d: setting '%s': there is no such setting; ",
		loading->path, line, name);
	if (near)
		buf_printf(&loading->unknown_problems, "did you mean '%s'?\n", near);
	else
		buf_add_cstr(&loading->unknown_problems, "see roost.conf(5)\n");
	if (loading->unknown_count == UNKNOWN_MAX)
		return;
	loading->unknown[loading->unknown_count++] = mem_strdup(name);
	loading->retry = 1;
}

static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char no_such[] = "no such option '";
	char text[512];
	char *end;

	vsnprintf(text, sizeof(text), fmt, ap);
	end = strrchr(text, '\'');
	if (strncmp(text, no_such, sizeof(no_such) - 1) == 0 && end) {
		*end = '\0';
		unknown_setting(cfg->line, text + sizeof(no_such) - 1);
		return;
	}
	buf_printf(&loading->problems, "%s:%d: %s\n", loading->path, cfg->line, text);
}

/* Called by libconfuse at each value, while the line is known. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	int i = conf_find(cfg_opt_name(opt));
	struct buf why = {0};
	const char **texts = NULL;
	size_t n = cfg_opt_size(opt);

	if (i < 0 || n == 0)
		return 0;
	texts = mem_alloc((n + 1) * sizeof(*texts));
	for (size_t k = 0; k < n; k++)
		texts[k] = cfg_opt_getnstr(opt, (unsigned)k);
	/* A list comes with each item and at its end: what was wrong before has been said. */
	if (conf_value_set(loading->conf, (size_t)i, texts + n - 1, 1, &why) == OK) {
		(void)conf_value_set(loading->conf, (size_t)i, texts, n, NULL);
		buf_reset(&loading->said);
	} else if (conf_defs()[i].type != CONF_LIST ||
		   !str_equal(buf_str(&why), buf_str(&loading->said))) {
		buf_printf(&loading->problems, "%s:%d: setting '%s': %s\n", loading->path,
			cfg->line, cfg_opt_name(opt), buf_cstr(&why));
		buf_reset(&loading->said);
		buf_add_buf(&loading->said, &why);
	}
	free(texts);
	buf_free(&why);
	return 0;
}

static cfg_opt_t *
make_options(int with_internal)
{
	size_t count, n = 0;
	const struct conf_row *rows = conf_rows(&count);
	cfg_opt_t *opts = mem_zalloc((count + UNKNOWN_MAX + 1) * sizeof(*opts));

	for (size_t i = 0; i < count; i++) {
		cfg_opt_t text = CFG_STR(rows[i].name, NULL, CFGF_NODEFAULT);
		cfg_opt_t list = CFG_STR_LIST(rows[i].name, NULL, CFGF_NODEFAULT);

		if (rows[i].internal && !with_internal)
			continue;
		opts[n] = conf_defs()[i].type == CONF_LIST ? list : text;
		opts[n++].validcb = on_value;
	}
	for (size_t i = 0; i < loading->unknown_count; i++) {
		cfg_opt_t any = CFG_STR(loading->unknown[i], NULL, CFGF_NODEFAULT);

		opts[n++] = any;
	}
	opts[n] = (cfg_opt_t)CFG_END();
	return opts;
}

/* libconfuse calls on_value for items alone, so an empty list "{}" is looked for afterwards. */
static void
take_empty_lists(cfg_t *cfg)
{
	for (unsigned n = 0; n < cfg_num(cfg); n++) {
		cfg_opt_t *opt = cfg_getnopt(cfg, n);
		int i = conf_find(cfg_opt_name(opt));

		if (i >= 0 && conf_defs()[i].type == CONF_LIST && (opt->flags & CFGF_MODIFIED) &&
			cfg_opt_size(opt) == 0)
			conf_value_set(loading->conf, (size_t)i, NULL, 0, NULL);
	}
}

static void
parse_once(FILE *f, int with_internal)
{
	cfg_opt_t *opts = make_options(with_internal);
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);

	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_fp(cfg, f) != CFG_SUCCESS && !loading->problems.len && !loading->retry)
		buf_printf(&loading->problems, "%s:%d: cannot be read as settings\n", loading->path,
			cfg->line);
	take_empty_lists(cfg);
	cfg_free(cfg);
	free(opts);
}

/*
 * Overwrites comments with blanks: libconfuse 3.3 counts a comment's line end three times, and a
 * message that names the wrong line is worse than none.
 */
static void
blank_comments(struct buf *text)
{
	char quote = 0;

	for (size_t i = 0; i < text->len; i++) {
		char c = text->p[i];

		if (quote) {
			if (c == '\\')
				i++;
			else if (c == quote)
				quote = 0;
		} else if (c == '"' || c == '\'') {
			quote = c;
		} else if (c == '#') {
			for (; i < text->len && text->p[i] != '\n'; i++)
				text->p[i] = ' ';
		}
	}
}

static enum err
conf_parse(struct buf *text, const char *path, int with_internal, struct buf *problems,
	struct config **out)
{
	struct load load = {.path = path};
	enum err e = OK;
	FILE *f;

	blank_comments(text);
	buf_add_char(text, '\n'); /* fmemopen(3) refuses an empty buffer */
	f = fmemopen(text->p, text->len, "r");
	if (!f)
		return err_from_errno(errno);
	loading = &load;
	do {
		load.retry = 0;
		conf_free(&load.conf);
		load.conf = conf_create();
		buf_reset(&load.problems);
		buf_reset(&load.said);
		rewind(f);
		parse_once(f, with_internal);
	} while (load.retry);
	fclose(f);
	loading = NULL;
	if (load.unknown_problems.len || load.problems.len) {
		buf_add_buf(problems, &load.unknown_problems);
		buf_add_buf(problems, &load.problems);
		conf_free(&load.conf);
		e = E_PARSE;
	} else {
		conf_fill(load.conf);
		*out = load.conf;
	}
	for (size_t i = 0; i < load.unknown_count; i++)
		free(load.unknown[i]);
	buf_free(&load.unknown_problems);
	buf_free(&load.problems);
	buf_free(&load.said);
	return e;
}

enum err
conf_load(const char *path, struct buf *problems, struct config **out)
{
	struct buf text = BUF_INIT(CONF_FILE_MAX);
	enum err e;

	*out = NULL;
	if (!path || !*path) {
		buf_add_cstr(problems, "no configuration file; name it with -c FILE\n");
		return E_NOTFOUND;
	}
	e = io_read_file(path, &text);
	if (e)
		buf_printf(problems, "%s: %s; name the configuration file with -c FILE\n", path,
			e == E_TOOBIG ? "larger than a configuration file may be"
				      : strerror(errno));
	else
		e = conf_parse(&text, path, 0, problems, out);
	if (!e && *out) {
		free((*out)->config_file);
		(*out)->config_file = mem_strdup(path);
	}
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

/* ---- from the master to its daemons ---- */

enum err
conf_load_fd(int fd, struct config **out)
{
	struct buf text = BUF_INIT(CONF_FILE_MAX), problems = {0};
	off_t at = 0;
	ssize_t n = 0;
	enum err e = OK;

	*out = NULL;
	/* pread(2): the offset is shared by all the daemons that hold this file. */
	do {
		text.len += (size_t)n;
		at += n;
		e = buf_reserve(&text, CONF_READ_CHUNK);
		n = e ? 0 : pread(fd, text.p + text.len, CONF_READ_CHUNK, at);
		if (n < 0)
			e = err_from_errno(errno);
	} while (n > 0);
	if (!e)
		e = conf_parse(&text, "settings from the master", 1, &problems, out);
	buf_wipe(&text);
	buf_free(&text);
	buf_free(&problems);
	return e;
}

/* A double-quoted string as libconfuse reads it. */
static void
add_quoted(struct buf *out, struct str text)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] == '\n') {
			buf_add_cstr(out, "\\n");
			continue;
		}
		if (text.p[i] == '"' || text.p[i] == '\\' || text.p[i] == '$')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	buf_add_char(out, '"');
}

static void
add_row(struct buf *out, const struct config *conf, size_t i, const char *name)
{
	struct buf text = {0};

	buf_printf(out, "%s = ", name);
	if (conf_defs()[i].type == CONF_LIST) {
		const struct conf_list *list =
			(const struct conf_list *)((const char *)conf + conf_defs()[i].offset);

		buf_add_char(out, '{');
		for (size_t k = 0; k < list->count; k++) {
			if (k)
				buf_add_char(out, ',');
			add_quoted(out, str_of(list->items[k]));
		}
		buf_add_cstr(out, "}\n");
		return;
	}
	conf_value_write(conf, i, &text);
	add_quoted(out, buf_str(&text));
	buf_add_char(out, '\n');
	buf_free(&text);
}

enum err
conf_to_memfd(const struct config *conf, int *fd_out)
{
	struct buf text = {0};
	size_t count;
	const struct conf_row *rows = conf_rows(&count);
	int fd = memfd_create("roost-settings", MFD_CLOEXEC);
	enum err e;

	*fd_out = -1;
	if (fd < 0)
		return err_from_errno(errno);
	for (size_t i = 0; i < count; i++)
		add_row(&text, conf, i, rows[i].name);
	e = io_write_all(fd, text.p, text.len);
	buf_wipe(&text);
	buf_free(&text);
	if (e)
		io_close(&fd);
	else
		*fd_out = fd;
	return e;
}
