/* SPDX-License-Identifier: MIT */
#include "auth/ticket.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "lib/hex.h"
#include "lib/mem.h"

/*
 * The text of a ticket is
 *
 *   4:<expires>:<quota bytes>:<quota messages>:<hex of the quota's rules>:<hex of the groups>:
 *   <hex of user>:<hex of home>:<hex of guest>:<hex of the guest's home>:<hex of the HMAC>
 *
 * The HMAC covers everything before the last colon. Names are in hex so that no byte of a name can
 * be mistaken for a separator. The HMAC is checked before anything else is looked at.
 */
enum { KEY_BYTES = 32, MAC_BYTES = 32, TICKET_TEXT_MAX = 16384 };

static void
hex_add_cstr(struct buf *out, const char *s)
{
	(void)hex_add(s, strlen(s), out);
}

/* A name on the heap from its hex; NULL when it is no text. */
static char *
name_decode(struct str hex)
{
	size_t len = hex.len / 2;
	char *name;

	if (len == 0 || hex.len % 2 != 0)
		return NULL;
	name = mem_alloc(len + 1);
	name[len] = '\0';
	if (!hex_read(hex, name, len) || strlen(name) != len)
		MEM_FREE(name);
	return name;
}

static enum err
mac_make(const char *key_hex, struct str text, unsigned char mac[MAC_BYTES])
{
	unsigned char key[KEY_BYTES];
	unsigned int len = MAC_BYTES;
	enum err e = OK;

	if (!hex_read(str_of(key_hex), key, KEY_BYTES))
		return E_RANGE;
	if (!HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)text.p, text.len, mac,
		    &len) ||
		len != MAC_BYTES)
		e = E_IO;
	OPENSSL_cleanse(key, sizeof(key));
	return e;
}

enum err
ticket_make(const char *key_hex, const struct ticket *t, struct buf *out)
{
	unsigned char mac[MAC_BYTES];
	struct buf text = BUF_INIT(TICKET_TEXT_MAX);
	enum err e;

	buf_printf(&text, "4:%" PRId64 ":%" PRIu64 ":%" PRIu64 ":", (int64_t)t->expires,
		t->quota_bytes, t->quota_messages);
	hex_add_cstr(&text, t->quota_rules ? t->quota_rules : "");
	buf_add_char(&text, ':');
	hex_add_cstr(&text, t->acl_groups ? t->acl_groups : "");
	buf_add_char(&text, ':');
	hex_add_cstr(&text, t->user);
	buf_add_char(&text, ':');
	hex_add_cstr(&text, t->home);
	buf_add_char(&text, ':');
	hex_add_cstr(&text, t->guest ? t->guest : "");
	buf_add_char(&text, ':');
	hex_add_cstr(&text, t->guest ? t->guest_home : "");
	e = text.err;
	if (!e)
		e = mac_make(key_hex, buf_str(&text), mac);
	if (e)
		goto out;
	buf_add_char(&text, ':');
	(void)hex_add(mac, MAC_BYTES, &text);
	e = text.err;
	if (!e)
		e = buf_add_buf(out, &text);
out:
	buf_wipe(&text);
	buf_free(&text);
	return e;
}

/* The fields, after the HMAC was found good. */
static enum err
fields_parse(struct str text, struct ticket *t)
{
	uint64_t expires;
	struct str version = str_split(&text, ':');
	struct str when = str_split(&text, ':');
	struct str bytes = str_split(&text, ':');
	struct str messages = str_split(&text, ':');
	struct str rules = str_split(&text, ':');
	struct str groups = str_split(&text, ':');
	struct str user = str_split(&text, ':');
	struct str home = str_split(&text, ':');
	struct str guest = str_split(&text, ':');

	if (!str_is(version, "4") || str_to_u64(when, &expires) || expires > INT64_MAX ||
		str_to_u64(bytes, &t->quota_bytes) || str_to_u64(messages, &t->quota_messages))
		return E_AUTH;
	t->expires = (time_t)expires;
	t->user = name_decode(user);
	t->home = name_decode(home);
	t->quota_rules = rules.len ? name_decode(rules) : mem_strdup("");
	t->acl_groups = groups.len ? name_decode(groups) : mem_strdup("");
	if (guest.len || text.len) {
		t->guest = name_decode(guest);
		t->guest_home = name_decode(text);
		if (!t->guest || !t->guest_home)
			return E_AUTH;
	}
	return t->user && t->home && t->quota_rules && t->acl_groups ? OK : E_AUTH;
}

enum err
ticket_check(const char *key_hex, struct str text, time_t now, struct ticket *out)
{
	unsigned char want[MAC_BYTES], got[MAC_BYTES];
	size_t end = text.len;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (text.len > TICKET_TEXT_MAX)
		return E_AUTH;
	while (end > 0 && text.p[end - 1] != ':')
		end--;
	if (end == 0)
		return E_AUTH;
	e = mac_make(key_hex, str_make(text.p, end - 1), want);
	if (e)
		return e;
	if (!hex_read(str_make(text.p + end, text.len - end), got, MAC_BYTES) ||
		CRYPTO_memcmp(want, got, MAC_BYTES) != 0)
		e = E_AUTH;
	else
		e = fields_parse(str_make(text.p, end - 1), out);
	if (!e && out->expires <= now)
		e = E_AUTH;
	OPENSSL_cleanse(want, sizeof(want));
	if (e)
		ticket_free(out);
	return e;
}

void
ticket_free(struct ticket *t)
{
	MEM_FREE(t->user);
	MEM_FREE(t->home);
	MEM_FREE(t->quota_rules);
	MEM_FREE(t->acl_groups);
	MEM_FREE(t->guest);
	MEM_FREE(t->guest_home);
	memset(t, 0, sizeof(*t));
}
