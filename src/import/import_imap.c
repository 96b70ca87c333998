/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "import/imap_client.h"
#include "import/imap_folder.h"
#include "import/imap_state.h"
#include "import/import.h"
#include "import/import_verbs.h"
#include "lib/io.h"
#include "lib/mem.h"

/* roostctl import imap: one folder after the other, each in batches of messages. */

enum {
	BATCH = 64, /* messages that one command asks for */
	IN_FLIGHT = 2, /* such commands that are under way at once */
	ITEMS_MAX = 16 * 1000 * 1000, /* messages of one folder */
	CONNECT_TRIES = 5,
	LISTS_MAX = 256,
};

enum item_state { ITEM_WANTED, ITEM_KNOWN, ITEM_HANDED, ITEM_FAILED };
struct item {
	uint32_t uid;
	enum item_state state;
	const char *flags; /* as imap_state_text gives them */
};

struct run {
	struct import im;
	struct imap_account account;
	struct imap_wishes wishes;
	struct imap_client *c;
	struct imap_state *state;
	struct imap_folders folders;
	uint64_t gone; /* of the source, while we worked */

	/* the folder at hand */
	const struct imap_folder *folder;
	struct import_box *box;
	struct imap_state_folder *known;
	uint32_t uidvalidity;
	struct item *items;
	size_t count, cap;
	enum err sink; /* what kept a message from being written; ends the run */
	uint64_t progress; /* messages that came */
};

/* ---- the connection ---- */

static enum err
connect_once(struct run *r)
{
	char *why;
	enum err e = imap_client_open(&r->account, &r->c, &why);

	if (e) {
		import_progress_break(&r->im);
		tool_error("%s: %s", r->account.host, why);
	}
	free(why);
	return e;
}

static enum err
examine(struct run *r)
{
	struct buf name = {0};
	enum err e = imap_quote(str_of(r->folder->source), &name);

	if (e == OK)
		e = imap_client_run(r->c, NULL, NULL, "EXAMINE %s", buf_cstr(&name));
	buf_free(&name);
	return e;
}

/* Back to where we were. E_CONFLICT: the folder is another now. */
static enum err
reconnect(struct run *r)
{
	enum err e = E_TEMPFAIL;

	import_message_drop(r->box);
	for (int i = 0; i < CONNECT_TRIES; i++) {
		imap_client_close(&r->c);
		(void)poll(NULL, 0, 500 << i);
		e = connect_once(r);
		e = e ? e : examine(r);
		if (e == OK)
			return imap_client_uidvalidity(r->c) == r->uidvalidity ? OK : E_CONFLICT;
		if (e == E_AUTH || e == E_ACCESS || e == E_UNSUPPORTED)
			break;
	}
	return e == E_ACCESS ? E_CONFLICT : e;
}

/* ---- what is in the folder ---- */

static enum err
on_flags(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct run *r = arg;
	struct imap_fetch f = {0};
	struct buf text = {0};
	enum err e;

	(void)c;
	if (strcmp(u->word, "FETCH") != 0)
		return OK;
	*taken = 1;
	e = imap_fetch_read(in, &f);
	if (e == OK && f.uid && f.has_flags) {
		if (r->count == r->cap) {
			r->cap = r->cap ? r->cap * 2 : 1024;
			r->items = mem_realloc(r->items, r->cap, sizeof(*r->items));
		}
		import_flags_format(&f.flags, &text);
		if (r->count < ITEMS_MAX)
			r->items[r->count++] = (struct item){
				.uid = f.uid, .flags = imap_state_text(r->state, buf_str(&text))};
		else
			e = E_TOOBIG;
	}
	import_flags_free(&f.flags);
	buf_free(&text);
	return e;
}

static int
compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static enum err
list_messages(struct run *r)
{
	size_t n = 0;
	enum err e = OK;

	r->count = 0;
	if (imap_client_exists(r->c))
		e = imap_client_run(r->c, on_flags, r, "UID FETCH 1:* (UID FLAGS)");
	if (e || !r->count)
		return e;
	qsort(r->items, r->count, sizeof(*r->items), compare_items);
	for (size_t i = 0; i < r->count; i++)
		if (n == 0 || r->items[n - 1].uid != r->items[i].uid)
			r->items[n++] = r->items[i];
	r->count = n;
	return OK;
}

/* ---- flags that changed at the source ---- */

struct flag_change {
	const char *from, *to;
	uint32_t source, uid;
};

static int
compare_changes(const void *a, const void *b)
{
	const struct flag_change *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* Keywords of a that are not in b. */
static size_t
keywords_beyond(const struct import_flags *a, const struct import_flags *b, const char **out)
{
	size_t n = 0;

	for (size_t i = 0; i < a->count; i++) {
		size_t k = 0;

		while (k < b->count && strcasecmp(a->keywords[i], b->keywords[k]) != 0)
			k++;
		if (k == b->count)
			out[n++] = a->keywords[i];
	}
	return n;
}

static enum err
store(struct run *r, const struct numset *uids, enum index_store_op op,
	const struct import_flags *a, const struct import_flags *b)
{
	const char *words[IMPORT_KEYWORDS_MAX];
	size_t n = keywords_beyond(a, b, words);
	unsigned flags = a->flags & ~b->flags;
	uint64_t modseq;

	if (!n && !flags)
		return OK;
	return index_store(r->im.user, import_box_mailbox(r->box)->id, uids, op, flags, words, n,
		UINT64_MAX, NULL, &modseq);
}

/*
 * Only what changed there is changed here: what the user did to the message here stays. A message
 * that is gone here is none of our business.
 */
static enum err
apply_changes(struct run *r, const struct flag_change *c, size_t n)
{
	struct import_flags from, to;
	struct numset uids = {0};
	enum err e = import_flags_parse(str_of(c->from), &from);

	e = import_flags_parse(str_of(c->to), &to) ? E_PARSE : e;
	for (size_t i = 0; i < n; i++)
		numset_add(&uids, c[i].uid);
	if (e == OK)
		e = store(r, &uids, INDEX_STORE_ADD, &to, &from);
	if (e == OK)
		e = store(r, &uids, INDEX_STORE_REMOVE, &from, &to);
	for (size_t i = 0; i < n && e == OK; i++)
		imap_state_put(r->state, r->known, c[i].source, c[i].uid, c[i].to);
	if (e == OK)
		r->im.flags_changed += n;
	numset_free(&uids);
	import_flags_free(&from);
	import_flags_free(&to);
	return e == E_TOOBIG || e == E_RANGE || e == E_PARSE ? OK : e;
}

static enum err
update_flags(struct run *r)
{
	struct flag_change *all = mem_alloc((r->count + 1) * sizeof(*all));
	size_t n = 0, end;
	enum err e = OK;

	for (size_t i = 0; i < r->count; i++) {
		const struct imap_state_message *m =
			imap_state_find(r->state, r->known, r->items[i].uid);

		if (!m)
			continue;
		r->items[i].state = ITEM_KNOWN;
		r->im.present++;
		if (m->flags != r->items[i].flags)
			all[n++] = (struct flag_change){.from = m->flags,
				.to = r->items[i].flags,
				.source = m->source,
				.uid = m->uid};
	}
	if (n)
		qsort(all, n, sizeof(*all), compare_changes);
	for (size_t i = 0; i < n && e == OK; i = end) {
		for (end = i; end < n && all[end].from == all[i].from && all[end].to == all[i].to;)
			end++;
		e = apply_changes(r, all + i, end - i);
	}
	free(all);
	return e;
}

/* ---- messages ---- */

static void
body_start(uint64_t size, void *arg)
{
	struct run *r = arg;

	if (r->sink == OK)
		r->sink = import_message_start(r->box, size);
}

static void
body_write(const char *p, size_t len, void *arg)
{
	struct run *r = arg;

	if (r->sink == OK)
		import_message_write(r->box, p, len);
}

static struct item *
find_item(struct run *r, uint32_t uid)
{
	struct item key = {.uid = uid};

	return r->count ? bsearch(&key, r->items, r->count, sizeof(key), compare_items) : NULL;
}

static enum err
on_message(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct run *r = arg;
	struct imap_fetch f = {.body_start = body_start, .body_write = body_write, .arg = r};
	struct import_flags flags;
	struct item *item;
	enum err e;

	(void)c;
	if (strcmp(u->word, "FETCH") != 0)
		return OK;
	*taken = 1;
	e = imap_fetch_read(in, &f);
	item = f.uid ? find_item(r, f.uid) : NULL;
	if (e == OK && r->sink == OK && f.has_body) {
		if (item && item->state == ITEM_WANTED) {
			(void)import_flags_parse(str_of(item->flags), &flags);
			item->state = ITEM_HANDED;
			r->progress++;
			r->sink = import_message_end(
				r->box, &flags, f.date, (uint64_t)(item - r->items));
			import_flags_free(&flags);
		} else {
			import_message_drop(r->box);
		}
	}
	import_flags_free(&f.flags);
	/* The rest of the answer is of no use any more. */
	return e == OK && r->sink ? E_CANCELLED : e;
}

static void
on_taken(uint64_t cookie, uint32_t uid, void *arg)
{
	struct run *r = arg;
	const struct item *item = &r->items[cookie];

	imap_state_put(r->state, r->known, item->uid, uid, item->flags);
}

struct command {
	uint64_t number;
	size_t first, end; /* of the wanted ones */
};

struct fetching {
	struct run *r;
	size_t *wanted, count; /* indexes of items */
	size_t next;
	struct command flying[IN_FLIGHT];
	size_t flying_count;
	size_t *again, again_count; /* to be asked for one by one */
};

static void
send_batch(struct fetching *f)
{
	struct numset uids = {0};
	struct buf text = {0};
	struct command *c = &f->flying[f->flying_count++];

	*c = (struct command){.first = f->next};
	for (size_t n = 0; n < BATCH && f->next < f->count; n++)
		numset_add(&uids, f->r->items[f->wanted[f->next++]].uid);
	c->end = f->next;
	numset_format(&uids, &text);
	c->number = imap_client_send(
		f->r->c, "UID FETCH %s (UID INTERNALDATE BODY.PEEK[])", buf_cstr(&text));
	numset_free(&uids);
	buf_free(&text);
}

/* What a command should have brought and did not. */
static void
try_again(struct fetching *f, const struct command *c)
{
	for (size_t i = c->first; i < c->end; i++)
		if (f->r->items[f->wanted[i]].state == ITEM_WANTED)
			f->again[f->again_count++] = f->wanted[i];
}

static enum err
fetch_batches(struct fetching *f)
{
	uint64_t progress = f->r->progress;
	enum err e = OK;

	while (e == OK) {
		struct command c;

		while (f->flying_count < IN_FLIGHT && f->next < f->count)
			send_batch(f);
		if (!f->flying_count)
			break;
		c = f->flying[0];
		e = imap_client_wait(f->r->c, c.number, on_message, f->r);
		if (f->r->sink)
			return f->r->sink;
		if (imap_client_is_broken(e)) {
			e = reconnect(f->r);
			/* Going nowhere: one of these it is. */
			if (f->r->progress == progress)
				try_again(f, &c);
			f->next = f->r->progress == progress ? c.end : c.first;
			while (f->next < c.end &&
				f->r->items[f->wanted[f->next]].state != ITEM_WANTED)
				f->next++;
			progress = f->r->progress;
			f->flying_count = 0;
			continue;
		}
		try_again(f, &c);
		e = imap_state_flush(f->r->state);
		memmove(f->flying, f->flying + 1, --f->flying_count * sizeof(f->flying[0]));
	}
	return e;
}

static enum err
fetch_one(struct run *r, struct item *item)
{
	char uid[32];
	enum err e = OK;

	snprintf(uid, sizeof(uid), "UID %u", item->uid);
	for (int tries = 0; tries < 2; tries++) {
		e = imap_client_run(r->c, on_message, r,
			"UID FETCH %u (UID INTERNALDATE BODY.PEEK[])", item->uid);
		if (r->sink)
			return r->sink;
		if (!imap_client_is_broken(e))
			break;
		e = reconnect(r);
		if (e)
			return e;
		e = E_CLOSED;
	}
	if (item->state == ITEM_HANDED)
		return OK;
	item->state = ITEM_FAILED;
	if (e == OK)
		r->gone++; /* expunged meanwhile */
	else
		import_failed(&r->im, r->folder->name, uid,
			e == E_ACCESS ? imap_client_text(r->c)
				      : "the server closes the connection over this message");
	return OK;
}

static enum err
fetch_messages(struct run *r)
{
	struct fetching f = {.r = r};
	enum err e;

	f.wanted = mem_alloc((r->count + 1) * sizeof(*f.wanted));
	f.again = mem_alloc((r->count + 1) * sizeof(*f.again));
	for (size_t i = 0; i < r->count; i++)
		if (r->items[i].state == ITEM_WANTED)
			f.wanted[f.count++] = i;
	e = fetch_batches(&f);
	for (size_t i = 0; i < f.again_count && e == OK; i++)
		if (r->items[f.again[i]].state == ITEM_WANTED)
			e = fetch_one(r, &r->items[f.again[i]]);
	free(f.wanted);
	free(f.again);
	return e;
}

/* ---- a folder ---- */

static enum err
take_folder(struct run *r)
{
	const struct imap_state_message *messages;
	size_t count;
	enum err e;

	r->uidvalidity = imap_client_uidvalidity(r->c);
	r->known = imap_state_folder_get(r->state, str_of(r->folder->source), r->uidvalidity,
		import_box_mailbox(r->box)->uidvalidity);
	messages = imap_state_messages(r->state, r->known, &count);
	for (size_t i = 0; i < count; i++)
		import_box_claim(r->box, messages[i].uid);
	e = list_messages(r);
	if (e == OK)
		e = update_flags(r);
	if (e == OK)
		e = import_box_ready(r->box, on_taken, r);
	if (e == OK)
		e = fetch_messages(r);
	if (r->box) {
		enum err flushed =
			e == OK || imap_client_is_broken(e) ? import_box_flush(r->box) : OK;

		e = e ? e : flushed;
	}
	return e ? e : imap_state_flush(r->state);
}

/* What ends the run; the rest is a folder's own trouble. */
static int
is_fatal(enum err e)
{
	return e == E_AUTH || e == E_QUOTA || e == E_NOSPACE || e == E_IO || e == E_TEMPFAIL;
}

static enum err
run_folder(struct run *r, const struct imap_folder *folder)
{
	unsigned use = folder->special_use & ~(unsigned)(INDEX_USE_ALL | INDEX_USE_FLAGGED);
	enum err e = import_box_open(&r->im, str_of(folder->name), use, &r->box);

	r->folder = folder;
	r->im.where = folder->name;
	r->sink = OK;
	if (e && !is_fatal(e)) {
		import_failed(&r->im, folder->name, NULL,
			"a mailbox cannot have this name; give another with --map");
		return OK;
	}
	if (e)
		return e;
	e = examine(r);
	if (imap_client_is_broken(e))
		e = reconnect(r);
	if (e == OK)
		e = take_folder(r);
	if (e == OK && folder->subscribed)
		e = index_subscribe(r->im.user, str_of(folder->name), 1);
	import_box_close(&r->box);
	r->im.mailboxes += e == OK;
	if (e == OK || is_fatal(e))
		return e;
	import_failed(
		&r->im, folder->name, NULL, e == E_ACCESS ? imap_client_text(r->c) : err_text(e));
	/* The connection may be in the middle of something. */
	imap_client_close(&r->c);
	return connect_once(r);
}

/* ---- all of it ---- */

/* Where it is remembered what was taken. */
static enum err
open_state(struct run *r)
{
	char *dir = mem_printf("%s/import", r->im.home), *path;
	struct buf name = {0};
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
	enum err e;

	for (const char *p = r->account.host; *p; p++)
		buf_add_char(&name, str_is_alnum(*p) || *p == '.' || *p == '-' ? *p : '_');
	buf_add_char(&name, '-');
	for (const char *p = r->account.login; *p; p++)
		buf_add_char(&name, str_is_alnum(*p) || *p == '.' || *p == '-' ? *p : '_');
	buf_truncate(&name, 150);
	/* Two accounts never share one, however they are spelled. */
	for (const char *p = r->account.host; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
	hash = (hash ^ 0) * UINT64_C(1099511628211);
	for (const char *p = r->account.login; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
	path = mem_printf("%s/imap-%s-%016llx", dir, buf_cstr(&name), (unsigned long long)hash);
	e = mkdir(dir, 0700) == 0 || errno == EEXIST ? OK : err_from_errno(errno);
	if (e == OK)
		e = imap_state_open(path, &r->state);
	if (e)
		tool_error("%s: %s", path,
			e == E_CONFLICT	 ? "another import from this account is running"
			: e == E_CORRUPT ? "this is no file of an import"
					 : err_text(e));
	buf_free(&name);
	free(path);
	free(dir);
	return e;
}

static enum err
run(struct run *r)
{
	enum err e = open_state(r);

	if (e == OK)
		e = import_sandbox(&r->im, r->account.ca_file, IMPORT_CAN_CONNECT);
	if (e == OK)
		e = connect_once(r);
	if (e)
		return e;
	e = imap_folders_list(r->c, r->im.user, &r->wishes, &r->folders);
	if (e) {
		tool_error("%s: the folders cannot be listed: %s", r->account.host,
			e == E_ACCESS ? imap_client_text(r->c) : err_text(e));
		return e;
	}
	if (!r->folders.count)
		tool_error("%s: there is no folder to import", r->account.host);
	for (size_t i = 0; i < r->folders.count; i++)
		r->im.expected += r->folders.all[i].messages;
	for (size_t i = 0; i < r->folders.count && e == OK; i++)
		e = run_folder(r, &r->folders.all[i]);
	if (e == OK && r->c)
		(void)imap_client_run(r->c, NULL, NULL, "LOGOUT");
	if (e) {
		import_progress_break(&r->im);
		tool_error("%s: %s", r->im.where ? r->im.where : r->account.host, err_text(e));
	}
	return e;
}

/* ---- the command line ---- */

enum {
	O_HOST,
	O_PORT,
	O_TLS,
	O_STARTTLS,
	O_PLAIN,
	O_LOGIN,
	O_PASSWORD_FILE,
	O_CA_FILE,
	O_INSECURE,
	O_KEEP_NAMES,
};
static const struct tool_option options[] = {
	[O_HOST] = {"host", 0},
	[O_PORT] = {"port", 0},
	[O_TLS] = {"tls", 1},
	[O_STARTTLS] = {"starttls", 1},
	[O_PLAIN] = {"plain", 1},
	[O_LOGIN] = {"login", 0},
	[O_PASSWORD_FILE] = {"password-file", 0},
	[O_CA_FILE] = {"ca-file", 0},
	[O_INSECURE] = {"insecure", 1},
	[O_KEEP_NAMES] = {"keep-names", 1},
	{NULL, 0},
};

/* The first line of the file, or what is typed. */
static enum err
read_password(const char *file, char **out)
{
	struct buf text = BUF_INIT(65536);
	struct str rest, line;
	enum err e;

	if (!file) {
		*out = tool_read_secret("Password at the other server");
		return *out ? OK : E_PARSE;
	}
	e = io_read_file(file, &text);
	if (e) {
		tool_error("%s: %s", file, err_text(e));
	} else {
		rest = buf_str(&text);
		line = str_split(&rest, '\n');
		if (line.len && line.p[line.len - 1] == '\r')
			line.len--;
		*out = str_dup(line);
	}
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

static enum err
account_from(const struct tool_args *a, struct imap_account *out, char **password)
{
	int kinds = !!a->values[O_TLS] + !!a->values[O_STARTTLS] + !!a->values[O_PLAIN];

	out->host = a->values[O_HOST];
	out->login = a->values[O_LOGIN];
	out->security = a->values[O_PLAIN]	? IMAP_PLAIN
			: a->values[O_STARTTLS] ? IMAP_STARTTLS
						: IMAP_TLS;
	out->port = a->values[O_PORT];
	if (!out->port)
		out->port = out->security == IMAP_TLS ? "993" : "143";
	out->ca_file = a->values[O_CA_FILE];
	out->insecure = a->values[O_INSECURE] != NULL;
	if (!out->host || !out->login) {
		tool_error("--host and --login are needed");
		return E_PARSE;
	}
	if (kinds > 1) {
		tool_error("one of --tls, --starttls and --plain");
		return E_PARSE;
	}
	if (read_password(a->values[O_PASSWORD_FILE], password)) {
		tool_error("there is no password; name a file with --password-file or write "
			   "it to standard input");
		return E_ACCESS;
	}
	out->password = *password;
	return OK;
}

enum err
import_imap(struct tool *t, int argc, char **argv)
{
	const char *only[LISTS_MAX], *except[LISTS_MAX], *map[LISTS_MAX];
	struct run r = {.wishes = {.only = only, .except = except, .map = map}};
	struct tool_args a;
	char *password = NULL;
	enum err e = tool_list_take(&argc, argv, "mailbox", only, LISTS_MAX, &r.wishes.only_count);

	e = e ? e
	      : tool_list_take(&argc, argv, "exclude", except, LISTS_MAX, &r.wishes.except_count);
	e = e ? e : tool_list_take(&argc, argv, "map", map, LISTS_MAX, &r.wishes.map_count);
	e = e ? e : tool_args_parse(argc, argv, options, 1, 1, &a);
	for (size_t i = 0; i < r.wishes.map_count && e == OK; i++) {
		if (!strchr(map[i], '=') || map[i][0] == '=') {
			tool_error("--map wants OLD=NEW");
			e = E_PARSE;
		}
	}
	e = e ? e : account_from(&a, &r.account, &password);
	if (e)
		return e;
	r.wishes.keep_names = a.values[O_KEEP_NAMES] != NULL;
	e = import_begin(t, a.positional[0], 0, &r.im);
	if (e == OK)
		e = run(&r);
	imap_client_close(&r.c);
	imap_state_close(&r.state);
	imap_folders_free(&r.folders);
	free(r.items);
	explicit_bzero(password, strlen(password));
	free(password);
	return import_end(&r.im, e == E_PARSE ? E_PROTO : e);
}
