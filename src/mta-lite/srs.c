/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/srs.h"

#include <libgen.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/domain_list.h"
#include "lib/idn.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "mta-lite/smtp_path.h"

enum { SRS_HASH_LEN = 4, SRS_DAYS = 1024, SRS_DAY_S = 86400, SRS_SECRETS_MAX = 64 * 1024 };
enum { SRS_TAG_LEN = 4 }; /* "SRS0" */

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

struct srs {
	char domain[SMTP_DOMAIN_MAX + 1]; /* A-labels, lower case, as in addresses */
	char *path; /* of the secrets */
	struct buf secrets; /* each with a NUL; the first one signs */
	struct stat seen;
	struct domain_list excluded;
	unsigned lifetime_days;
};

/* ---- settings ---- */

static enum err
set_domain(struct srs *s, const char *text)
{
	size_t i;

	if (idn_to_ascii(str_of(text), s->domain, sizeof(s->domain))) {
		log_event(LOGL_ERROR, "srs.setting failed", "setting", "srs_domain", "value", text,
			"error", "it is no domain", NULL);
		return E_PARSE;
	}
	for (i = 0; s->domain[i]; i++)
		s->domain[i] = str_lower(s->domain[i]);
	return OK;
}

/* A secret a line; blank lines and those that begin with # do not count. */
static enum err
read_secrets(struct srs *s)
{
	struct buf text = BUF_INIT(SRS_SECRETS_MAX), secrets = {0};
	struct stat seen = {0};
	enum err e = stat(s->path, &seen) == 0 ? OK : E_NOTFOUND;
	struct str rest;

	if (e == OK)
		e = io_read_file(s->path, &text);
	rest = buf_str(&text);
	while (e == OK && rest.len > 0) {
		struct str line = str_trim(str_split(&rest, '\n'));

		if (line.len == 0 || line.p[0] == '#')
			continue;
		buf_add_str(&secrets, line);
		buf_add_char(&secrets, '\0');
	}
	if (e == OK && secrets.len == 0)
		e = E_PARSE;
	s->seen = seen;
	if (e)
		log_event(LOGL_ERROR, "srs.secrets failed", "path", s->path, "error",
			e == E_PARSE ? "there is no secret in it" : err_text(e), "remedy",
			"srs_domain needs srs_secrets: a file with a line that nobody can guess",
			NULL);
	if (e == OK) {
		buf_wipe(&s->secrets);
		buf_free(&s->secrets);
		s->secrets = secrets;
	} else {
		buf_free(&secrets);
	}
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

enum err
srs_open(const struct config *conf, struct srs **out)
{
	const struct conf_list *excluded = &conf->srs_exclude_domains;
	struct srs *s;
	enum err e;
	size_t i;

	*out = NULL;
	if (conf->srs_domain[0] == '\0')
		return OK;
	s = MEM_NEW(struct srs);
	s->path = mem_strdup(conf->srs_secrets);
	s->lifetime_days = (unsigned)(conf->srs_lifetime / 1000 / SRS_DAY_S);
	for (i = 0; i < excluded->count; i++)
		domain_list_add(&s->excluded, "srs_exclude_domains", excluded->items[i]);
	e = set_domain(s, conf->srs_domain);
	if (e == OK)
		e = read_secrets(s);
	if (e)
		srs_free(&s);
	*out = s;
	return e;
}

void
srs_free(struct srs **s)
{
	if (*s == NULL)
		return;
	domain_list_free(&(*s)->excluded);
	free((*s)->path);
	buf_wipe(&(*s)->secrets);
	buf_free(&(*s)->secrets);
	MEM_FREE(*s);
}

void
srs_refresh(struct srs *s)
{
	struct stat now;

	if (s == NULL || stat(s->path, &now) != 0)
		return;
	if (now.st_mtim.tv_sec != s->seen.st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != s->seen.st_mtim.tv_nsec || now.st_ino != s->seen.st_ino ||
		now.st_size != s->seen.st_size)
		(void)read_secrets(s);
}

void
srs_sandbox(const struct srs *s, struct sandbox *sb)
{
	char *copy = s ? mem_strdup(s->path) : NULL;

	/* The directory: an editor puts another file in the place of this one. */
	if (copy)
		sandbox_allow_path(sb, dirname(copy), SANDBOX_READ);
	free(copy);
}

/* ---- addresses ---- */

struct parts {
	struct buf local; /* without quotes */
	struct str domain; /* borrowed; empty: none */
};

static void
split(struct str address, struct parts *p)
{
	size_t end = address.len, i, from = 0;

	while (end > 0 && address.p[end - 1] != '@')
		end--;
	p->domain = end ? str_make(address.p + end, address.len - end) : str_make("", 0);
	end = end ? end - 1 : address.len;
	if (end >= 2 && address.p[0] == '"' && address.p[end - 1] == '"') {
		from = 1;
		end--;
	}
	for (i = from; i < end; i++) {
		if (from && address.p[i] == '\\' && i + 1 < end)
			i++;
		buf_add_char(&p->local, address.p[i]);
	}
}

/* The address in its shortest form, quoted only where that must be. E_PARSE, E_TOOBIG. */
static enum err
join(struct str local, struct str domain, struct buf *out)
{
	struct buf text = BUF_INIT(SMTP_PATH_MAX);
	struct smtp_path path;
	enum err e;
	size_t i;

	buf_add_char(&text, '"');
	for (i = 0; i < local.len; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			buf_add_char(&text, '\\');
		buf_add_char(&text, local.p[i]);
	}
	buf_add_cstr(&text, "\"@");
	buf_add_str(&text, domain);
	e = text.err ? text.err : smtp_mailbox_parse(buf_str(&text), &path);
	buf_reset(out);
	if (e == OK)
		e = buf_add_cstr(out, path.address);
	buf_free(&text);
	return e == E_UNSUPPORTED ? E_PARSE : e;
}

/* "SRS0=", "SRS1+" and the like: 0 or 1; -1: it is no such address. */
static int
kind_of(struct str local)
{
	if (local.len <= SRS_TAG_LEN || !str_starts_i(local, "SRS") ||
		(local.p[3] != '0' && local.p[3] != '1') || strchr("=+-", local.p[4]) == NULL)
		return -1;
	return local.p[3] - '0';
}

int
srs_in_domain(const struct srs *s, struct str address)
{
	size_t n = s ? strlen(s->domain) : 0;

	return s && address.len > n && address.p[address.len - n - 1] == '@' &&
	       str_ends_i(address, s->domain);
}

int
srs_is_rewritten(const struct srs *s, struct str address)
{
	struct parts p = {0};
	int is;

	if (!srs_in_domain(s, address))
		return 0;
	split(address, &p);
	is = kind_of(buf_str(&p.local)) >= 0;
	buf_free(&p.local);
	return is;
}

int
srs_applies(const struct srs *s, const char *sender)
{
	const char *at = strrchr(sender, '@');

	return s && sender[0] && !srs_in_domain(s, str_of(sender)) &&
	       !(at && domain_list_has(&s->excluded, str_of(at + 1)));
}

/* ---- hashes and dates ---- */

/* Of these one after the other; case does not count, since it may get lost on the way. */
static void
make_hash(const char *secret, const struct str *fields, size_t n, char out[64])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct buf text = {0};
	unsigned len = 0;
	size_t i, k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < fields[i].len; k++)
			buf_add_char(&text, str_lower(fields[i].p[k]));
	}
	if (!HMAC(EVP_sha1(), secret, (int)strlen(secret), (const unsigned char *)buf_cstr(&text),
		    text.len, digest, &len) ||
		len > 40)
		log_bug(__FILE__, __LINE__, "no HMAC-SHA1");
	(void)EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
	buf_free(&text);
}

static int
equal_folded(struct str given, const char *hash)
{
	unsigned char differ = 0;
	size_t i;

	for (i = 0; i < given.len; i++)
		differ |= (unsigned char)(str_lower(given.p[i]) ^ str_lower(hash[i]));
	return differ == 0;
}

/* A prefix of the hash that one of the secrets makes. */
static int
hash_holds(const struct srs *s, struct str given, const struct str *fields, size_t n)
{
	const char *secret = s->secrets.p;
	char hash[64];

	if (given.len < SRS_HASH_LEN)
		return 0;
	for (; secret < s->secrets.p + s->secrets.len; secret += strlen(secret) + 1) {
		make_hash(secret, fields, n, hash);
		if (given.len <= strlen(hash) && equal_folded(given, hash))
			return 1;
	}
	return 0;
}

static void
put_date(int64_t when, char out[2])
{
	unsigned day = (unsigned)(when / SRS_DAY_S % SRS_DAYS);

	out[0] = base32[day >> 5];
	out[1] = base32[day & 31];
}

static int
digit_of(char c)
{
	const char *at = c ? strchr(base32, str_upper(c)) : NULL;

	return at ? (int)(at - base32) : -1;
}

/* E_PARSE: no date. A clock that is a day ahead of ours makes no difference. */
static enum err
check_date(const struct srs *s, struct str date, int64_t now)
{
	int high, low;
	unsigned age;

	if (date.len != 2)
		return E_PARSE;
	high = digit_of(date.p[0]);
	low = digit_of(date.p[1]);
	if (high < 0 || low < 0)
		return E_PARSE;
	age = ((unsigned)(now / SRS_DAY_S % SRS_DAYS) + SRS_DAYS - (unsigned)(high * 32 + low)) %
	      SRS_DAYS;
	return age <= s->lifetime_days || age == SRS_DAYS - 1 ? OK : E_RANGE;
}

/* ---- there and back ---- */

static void
sign_first(const struct srs *s, const struct parts *p, int64_t when, struct buf *local)
{
	char date[2], hash[64];
	struct str fields[3];

	put_date(when, date);
	fields[0] = str_make(date, 2);
	fields[1] = p->domain;
	fields[2] = buf_str(&p->local);
	make_hash(s->secrets.p, fields, 3, hash);
	buf_printf(local, "SRS0=%.*s=%.2s=%.*s=", SRS_HASH_LEN, hash, date, STR_ARG(p->domain));
	buf_add_buf(local, &p->local);
}

/* first: who made the SRS0; rest: what stands behind "SRS0" there. */
static void
sign_next(const struct srs *s, struct str first, struct str rest, struct buf *local)
{
	const struct str fields[2] = {first, rest};
	char hash[64];

	make_hash(s->secrets.p, fields, 2, hash);
	buf_printf(local, "SRS1=%.*s=%.*s=", SRS_HASH_LEN, hash, STR_ARG(first));
	buf_add_str(local, rest);
}

/* "=HASH=first=REST" of an SRS1. E_PARSE. */
static enum err
split_next(struct str text, struct str *hash, struct str *first, struct str *rest)
{
	text = str_make(text.p + 1, text.len - 1);
	*hash = str_split(&text, '=');
	if (text.p == NULL)
		return E_PARSE;
	*first = str_split(&text, '=');
	*rest = text;
	return first->len > 0 && rest->len > 0 ? OK : E_PARSE;
}

enum err
srs_forward(const struct srs *s, const char *sender, int64_t when, struct buf *out)
{
	struct buf local = {0};
	struct parts p = {0};
	struct str text, hash, first, rest;
	enum err e = OK;

	buf_reset(out);
	if (!srs_applies(s, sender))
		return E_NOTFOUND;
	split(str_of(sender), &p);
	text = buf_str(&p.local);
	if (text.len > SRS_TAG_LEN)
		rest = str_make(text.p + SRS_TAG_LEN, text.len - SRS_TAG_LEN);
	else
		rest = str_make("", 0);
	if (p.domain.len == 0)
		e = E_PARSE;
	else if (kind_of(text) == 0)
		sign_next(s, p.domain, rest, &local);
	else if (kind_of(text) == 1 && split_next(rest, &hash, &first, &rest) == OK)
		sign_next(s, first, rest, &local);
	else
		sign_first(s, &p, when, &local);
	if (e == OK)
		e = join(buf_str(&local), str_of(s->domain), out);
	buf_free(&local);
	buf_free(&p.local);
	return e;
}

static enum err
reverse_first(const struct srs *s, struct str text, int64_t now, struct buf *out)
{
	struct str hash, fields[3];
	enum err e;

	text = str_make(text.p + 1, text.len - 1);
	hash = str_split(&text, '=');
	fields[0] = str_split(&text, '=');
	fields[1] = str_split(&text, '=');
	fields[2] = text;
	if (text.p == NULL || fields[1].len == 0 || text.len == 0)
		return E_PARSE;
	if (!hash_holds(s, hash, fields, 3))
		return E_ACCESS;
	e = check_date(s, fields[0], now);
	return e ? e : join(fields[2], fields[1], out);
}

static enum err
reverse_next(const struct srs *s, struct str text, struct buf *out)
{
	struct buf local = {0};
	struct str hash, fields[2];
	enum err e = split_next(text, &hash, &fields[0], &fields[1]);

	if (e)
		return e;
	if (!hash_holds(s, hash, fields, 2))
		return E_ACCESS;
	buf_add_cstr(&local, "SRS0");
	buf_add_str(&local, fields[1]);
	/* What was no address before is none now. */
	e = kind_of(buf_str(&local)) == 0 ? join(buf_str(&local), fields[0], out) : E_PARSE;
	buf_free(&local);
	return e;
}

enum err
srs_reverse(const struct srs *s, struct str address, int64_t now, struct buf *out)
{
	struct parts p = {0};
	struct str text;
	enum err e;

	buf_reset(out);
	if (!srs_is_rewritten(s, address))
		return E_NOTFOUND;
	split(address, &p);
	text = buf_str(&p.local);
	text = str_make(text.p + SRS_TAG_LEN, text.len - SRS_TAG_LEN);
	if (kind_of(buf_str(&p.local)) == 0)
		e = reverse_first(s, text, now, out);
	else
		e = reverse_next(s, text, out);
	buf_free(&p.local);
	return e;
}
