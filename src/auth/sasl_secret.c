/* SPDX-License-Identifier: MIT */
#include "auth/sasl_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sasl/prop.h>
#include <sasl/saslplug.h>

#include "auth/password_scheme.h"
#include "auth/password_scram.h"
#include "auth/saslprep.h"
#include "lib/hex.h"
#include "lib/io.h"
#include "lib/mem.h"

enum { SECRET_BYTES = 32, CRAM_BYTES = 32, UNKNOWN_SALT = 16 };

static unsigned char process_secret[SECRET_BYTES];

/* ---- the properties that mechanisms ask for ---- */

struct request {
	struct sasl_secret_source *source;
	struct str user;
	const char *stored; /* NULL: nothing that could serve */
	struct buf value;
};

/* The data of a stored password of this scheme; NULL. */
static const char *
data_of(const char *stored, const char *scheme)
{
	size_t len = strlen(scheme);

	if (!stored || stored[0] != '{' || !str_starts_i(str_of(stored + 1), scheme) ||
		stored[1 + len] != '}')
		return NULL;
	return stored + len + 2;
}

/* The same bytes for the same user in each try, and known to nobody. */
static void
unknown_bytes(const struct request *r, const char *purpose, unsigned char out[SECRET_BYTES])
{
	struct buf text = {0};

	(void)buf_add_cstr(&text, purpose);
	(void)buf_add_char(&text, '\0');
	(void)buf_add_str(&text, r->user);
	HMAC(EVP_sha256(), process_secret, sizeof(process_secret), (const unsigned char *)text.p,
		text.len, out, NULL);
	buf_free(&text);
}

/* The password itself; prepared, for a mechanism whose clients do so (RFC 5802 section 2.2). */
static void
put_password(struct request *r, int prepared)
{
	const char *plain = data_of(r->stored, "PLAIN");
	unsigned char unknown[SECRET_BYTES];

	if (plain) {
		r->source->fits = 1;
		if (prepared && saslprep(str_of(plain), SASLPREP_QUERY, &r->value) == OK)
			return;
		buf_wipe(&r->value);
		(void)buf_add_cstr(&r->value, plain);
		return;
	}
	unknown_bytes(r, "password", unknown);
	(void)hex_add(unknown, sizeof(unknown), &r->value);
}

/*
 * HMAC's two states: inner and outer, big-endian, where ours are outer and inner, little-endian
 * and hexadecimal.
 */
static int
put_cram(struct request *r)
{
	const char *hex = data_of(r->stored, "CRAM-MD5");
	unsigned char bytes[CRAM_BYTES];
	size_t len;

	if (!hex || !OPENSSL_hexstr2buf_ex(bytes, sizeof(bytes), &len, hex, '\0') ||
		len != sizeof(bytes))
		return 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)buf_add_char(&r->value,
			(char)bytes[(i + CRAM_BYTES / 2) % CRAM_BYTES / 4 * 4 + (3 - i % 4)]);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	r->source->fits = 1;
	return 1;
}

/* "SCRAM-SHA-256$15000:salt$StoredKey:ServerKey" (RFC 5803 section 2). */
static void
put_scram_text(struct request *r, const char *name, const struct scram_secret *s)
{
	char salt[4 * ((SCRAM_SALT_MAX + 2) / 3) + 1], stored[4 * ((SCRAM_KEY_MAX + 2) / 3) + 1],
		server[sizeof(stored)];

	password_base64_encode(s->salt, s->salt_len, salt);
	password_base64_encode(s->stored_key, s->key_len, stored);
	password_base64_encode(s->server_key, s->key_len, server);
	(void)buf_printf(&r->value, "%s$%u:%s$%s:%s", name, s->iterations, salt, stored, server);
	OPENSSL_cleanse(server, sizeof(server));
}

static const struct {
	const char *name;
	enum scram_hash hash;
} scrams[] = {{"SCRAM-SHA-256", SCRAM_SHA_256}, {"SCRAM-SHA-1", SCRAM_SHA_1}};
enum { SCRAM_COUNT = sizeof(scrams) / sizeof(scrams[0]) };

/* The plug-in takes the one of its own hash among several. */
static size_t
put_scram(struct request *r, struct propctx *ctx, const sasl_utils_t *utils, const char *property)
{
	struct scram_secret s;
	size_t set = 0;

	for (size_t i = 0; i < SCRAM_COUNT; i++) {
		const char *data = data_of(r->stored, scrams[i].name);
		unsigned char keys[SECRET_BYTES], salt[SECRET_BYTES];

		if (data && scram_secret_parse(scrams[i].hash, data, &s) == OK) {
			r->source->fits = 1;
		} else if (data_of(r->stored, "PLAIN")) {
			continue; /* made of the password */
		} else {
			unknown_bytes(r, "salt", salt);
			unknown_bytes(r, "keys", keys);
			s = (struct scram_secret){.hash = scrams[i].hash,
				.iterations = (uint32_t)strtoul(SASL_SECRET_ITERATIONS, NULL, 10),
				.salt_len = UNKNOWN_SALT,
				.key_len = scrams[i].hash == SCRAM_SHA_1 ? 20 : 32};
			memcpy(s.salt, salt, UNKNOWN_SALT);
			memcpy(s.stored_key, keys, s.key_len);
			memcpy(s.server_key, keys, s.key_len);
		}
		buf_reset(&r->value);
		put_scram_text(r, scrams[i].name, &s);
		utils->prop_set(ctx, set ? NULL : property, buf_cstr(&r->value), (int)r->value.len);
		scram_secret_wipe(&s);
		set++;
	}
	return set;
}

/* What the mechanism has asked for, without the "*" that stands for the authentication id. */
struct asked {
	const char *password, *cram, *scram; /* as asked, NULL: not */
};

static struct asked
asked_for(const struct propval *p)
{
	struct asked out = {0};

	for (; p && p->name; p++) {
		const char *name = p->name[0] == '*' ? p->name + 1 : p->name;

		if (strcmp(name, "userPassword") == 0)
			out.password = p->name;
		else if (strcmp(name, "cmusaslsecretCRAM-MD5") == 0)
			out.cram = p->name;
		else if (strcmp(name, "authPassword") == 0)
			out.scram = p->name;
	}
	return out;
}

/* A mechanism takes the password before anything else, so that is set only where nothing else is.
 */
static void
set_properties(struct request *r, struct propctx *ctx, const sasl_utils_t *utils)
{
	struct asked asked = asked_for(utils->prop_get(ctx));

	if (asked.scram && put_scram(r, ctx, utils, asked.scram))
		return;
	buf_reset(&r->value);
	if (asked.cram && put_cram(r)) {
		utils->prop_set(ctx, asked.cram, buf_cstr(&r->value), (int)r->value.len);
	} else if (asked.password) {
		put_password(r, asked.scram != NULL);
		utils->prop_set(ctx, asked.password, buf_cstr(&r->value), (int)r->value.len);
	}
}

/* ---- the plug-in ---- */

static int
lookup(void *context, sasl_server_params_t *params, unsigned flags, const char *user, unsigned len)
{
	const sasl_utils_t *utils = params->utils;
	struct request r = {.user = str_make(user, len)};
	sasl_callback_ft callback;
	void *source;
	char *stored = NULL;
	enum err e;

	(void)context;
	/* Nobody logs in for somebody else, so what is asked of an authorization id is moot. */
	if (flags & SASL_AUXPROP_AUTHZID)
		return SASL_OK;
	if (utils->getcallback(utils->conn, SASL_SECRET_CALLBACK, &callback, &source) != SASL_OK)
		return SASL_OK; /* PLAIN and LOGIN bring the password themselves */
	r.source = source;
	e = r.source->find(r.source, r.user, &stored);
	r.source->error = e;
	if (e)
		return SASL_FAIL;
	r.stored = stored;
	set_properties(&r, params->propctx, utils);
	buf_wipe(&r.value);
	buf_free(&r.value);
	if (stored)
		OPENSSL_cleanse(stored, strlen(stored));
	free(stored);
	return SASL_OK;
}

static int
plugin_init(const sasl_utils_t *utils, int max_version, int *out_version,
	sasl_auxprop_plug_t **plug, const char *name)
{
	static char plugin_name[] = "roost";
	static sasl_auxprop_plug_t plugin = {.auxprop_lookup = lookup, .name = plugin_name};

	(void)utils;
	(void)name;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &plugin;
	return SASL_OK;
}

enum err
sasl_secret_init(void)
{
	io_random(process_secret, sizeof(process_secret));
	return sasl_auxprop_add_plugin("roost", plugin_init) == SASL_OK ? OK : E_TEMPFAIL;
}
