/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mta-lite/deferred.h"
#include "mta-lite/smtp_fit.h"
#include "mta-lite/tls_policy.h"
#include "mta-lite/tlsa.h"

/* What is decided about a delivery before a word is said. */

static void
policies(void **state)
{
	static const struct {
		const char *text;
		enum err err;
		enum tls_level level;
		const char *names; /* for nexthop example.com, host mx.example.net */
	} cases[] = {
		{"none", OK, TLS_LEVEL_NONE, "mx.example.net"},
		{" may ", OK, TLS_LEVEL_MAY, "mx.example.net"},
		{"dane-only", OK, TLS_LEVEL_DANE_ONLY, "mx.example.net"},
		{"verify", OK, TLS_LEVEL_VERIFY, "mx.example.net"},
		{"secure", OK, TLS_LEVEL_SECURE, "example.com .example.com"},
		{"secure match=hostname:.example.org", OK, TLS_LEVEL_SECURE,
			"mx.example.net .example.org"},
		{"verify  match=a.b  match=nexthop", OK, TLS_LEVEL_VERIFY, "a.b example.com"},
		{"verify match=", E_PARSE, 0, NULL},
		{"verify protocols=TLSv1", E_UNSUPPORTED, 0, NULL},
		{"verify loudly", E_PARSE, 0, NULL},
		{"sometimes", E_PARSE, 0, NULL},
		{"", E_PARSE, 0, NULL},
	};
	char names[TLS_MATCH_SIZE], long_text[2 * TLS_MATCH_SIZE];
	struct tls_policy p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(tls_policy_parse(str_of(cases[i].text), &p), cases[i].err);
		if (cases[i].err)
			continue;
		assert_int_equal(p.level, cases[i].level);
		assert_int_equal(tls_policy_names(&p, "example.com", "mx.example.net", names), OK);
		assert_string_equal(names, cases[i].names);
	}
	memset(long_text, 'a', sizeof(long_text));
	memcpy(long_text, "secure match=", 13);
	assert_int_equal(tls_policy_parse(str_make(long_text, sizeof(long_text)), &p), E_TOOBIG);
}

/* RFC 6698 section 2.1, RFC 7672 section 3.1: digests have one length, and PKIX usages are no use.
 */
static void
tlsa_records(void **state)
{
	static const struct {
		unsigned char head[3];
		size_t len;
		enum err err;
	} cases[] = {
		{{3, 1, 1}, 32, OK},
		{{2, 0, 2}, 64, OK},
		{{3, 1, 0}, 294, OK},
		{{3, 1, 1}, 31, E_PARSE},
		{{3, 1, 1}, 33, E_PARSE},
		{{3, 1, 2}, 32, E_PARSE},
		{{3, 1, 0}, 0, E_PARSE},
		{{3, 1, 0}, TLSA_DATA_MAX + 1, E_PARSE},
		{{0, 1, 1}, 32, E_UNSUPPORTED},
		{{1, 1, 1}, 32, E_UNSUPPORTED},
		{{4, 1, 1}, 32, E_UNSUPPORTED},
		{{3, 2, 1}, 32, E_UNSUPPORTED},
		{{3, 1, 3}, 32, E_UNSUPPORTED},
	};
	unsigned char record[TLSA_DATA_MAX + 8] = {0};
	struct tlsa t;
	size_t i, cut;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(record, cases[i].head, 3);
		assert_int_equal(tlsa_parse(record, cases[i].len + 3, &t), cases[i].err);
		if (cases[i].err == OK)
			assert_int_equal(t.len, cases[i].len);
		free(t.data);
	}
	for (cut = 0; cut < 4; cut++)
		assert_int_equal(tlsa_parse(record, cut, &t), E_PARSE);
}

static void
deferred_order(void **state)
{
	struct deferred *d = deferred_create();
	char id[QUEUE_ID_SIZE];
	int64_t when, last = 0;
	unsigned i;

	(void)state;
	assert_int_equal(deferred_first(d, &when), 0);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(id, sizeof(id), "%X", i);
		deferred_add(d, id, 1 + (i * 7919) % 1009);
	}
	for (i = 0; i < 500; i++) {
		assert_int_equal(deferred_take(d, id, &when), 1);
		assert_true(when >= last);
		last = when;
	}
	deferred_add(d, "FF", 2);
	assert_int_equal(deferred_first(d, &when), 1);
	assert_int_equal(when, 2);
	deferred_add(d, "A", DEFERRED_NOW);
	deferred_hurry_anew(d);
	deferred_add(d, "B", DEFERRED_NOW);
	assert_int_equal(deferred_first(d, &when), 1);
	assert_int_equal(when, DEFERRED_NOW);
	assert_int_equal(deferred_take(d, id, &when), 1);
	assert_string_equal(id, "B");
	assert_int_equal(when, DEFERRED_NOW);
	for (i = 0; deferred_take(d, id, &when); i++)
		assert_int_not_equal(when, DEFERRED_NOW);
	assert_int_equal(i, 501);
	assert_int_equal(deferred_wants_directory(d), 0);
	deferred_free(&d);
}

static void
deferred_ids(void **state)
{
	static const char *const ids[] = {"0", "00", "1", "F", "A0000000", "000000000000000000000",
		"69269FC5E8A2A0C9D20", "FFFFFFFFFFFFFFFFFFFFFFF", "00000000000000000000001",
		"12345678", "123456789ABCDEF0", "0123456789ABCDEF01234"};
	struct deferred *d = deferred_create();
	char id[QUEUE_ID_SIZE];
	int64_t when;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		deferred_add(d, ids[i], 1800000000 + (int64_t)i);
		assert_int_equal(deferred_take(d, id, &when), 1);
		assert_string_equal(id, ids[i]);
		assert_int_equal(when, 1800000000 + (int64_t)i);
	}
	/* Times that no clock shows are as early or late as can be. */
	deferred_add(d, "1", INT64_MAX);
	deferred_add(d, "2", -5);
	assert_int_equal(deferred_take(d, id, &when), 1);
	assert_string_equal(id, "2");
	assert_int_equal(when, 1);
	assert_int_equal(deferred_take(d, id, &when), 1);
	assert_int_equal(when, UINT32_MAX);
	deferred_free(&d);
}

/* More than are known: each is met once, in order, when the directory is read as often as asked. */
static void
deferred_many(void **state)
{
	enum { FILES = 5 * DEFERRED_MAX + 17, SAME = DEFERRED_MAX + 100 };
	static unsigned char there[FILES];
	struct deferred *d = deferred_create();
	char id[QUEUE_ID_SIZE];
	int64_t when, last = 0;
	unsigned i, n = 0, reads = 0, taken;

	(void)state;
	memset(there, 1, sizeof(there));
	deferred_reread_at(d, 1);
	while (deferred_first(d, &when)) {
		assert_true(when >= last);
		if (deferred_wants_directory(d)) {
			assert_true(++reads < 20);
			deferred_reread(d);
			for (i = 0; i < FILES; i++) {
				(void)snprintf(id, sizeof(id), "%X", i);
				/* More of one time than can be known at once, too. */
				if (there[i])
					deferred_add(d, id,
						i < SAME ? 20000 : 1 + (i * 7919ULL) % 40009);
			}
			continue;
		}
		assert_int_equal(deferred_take(d, id, &when), 1);
		assert_true(when >= last);
		last = when;
		taken = (unsigned)strtoul(id, NULL, 16);
		assert_true(taken < FILES && there[taken]);
		there[taken] = 0;
		n++;
	}
	assert_int_equal(n, FILES);
	assert_true(reads > 1);
	deferred_free(&d);
}

static enum err
read_text(void *arg, uint64_t offset, void *p, size_t size, struct str *out)
{
	struct str text = str_of(arg);
	size_t at = offset < text.len ? (size_t)offset : text.len;

	(void)p;
	*out = str_make(text.p + at, text.len - at < size ? text.len - at : size);
	return OK;
}

enum {
	ALL = SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME |
	      SMTP_EXT_REQUIRETLS,
};
#define ASCII_HEADER "Subject: x\r\n\r\nbody\r\n"
#define BODY_8BIT                                                                                  \
	"Subject: x\r\n\r\nb\xc3\xb6"                                                              \
	"dy\r\n"
#define HEADER_8BIT                                                                                \
	"Subject: \xc3\xb6"                                                                        \
	"\r\n\r\nbody\r\n"

#define NESTED_8BIT                                                                                \
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/global\r\n" \
	"\r\nSubject: \xc3\xb6"                                                                    \
	"\r\n\r\nbody\r\n--b--\r\n"

/* What the next server offers decides what it gets. */
static void
fits(void **state)
{
	static const struct {
		const char *text, *to;
		unsigned flags, ext;
		const char *dsn; /* of the refusal; NULL: none */
		int utf8, bdat, ascii;
	} cases[] = {
		{ASCII_HEADER, "a@b", 0, 0, NULL, 0, 0, 1},
		{BODY_8BIT, "a@b", 0, ALL, NULL, 0, 0, 0},
		{BODY_8BIT, "a@b", 0, 0, NULL, 0, 0, 1},
		{BODY_8BIT, "a@b", QUEUE_SMTPUTF8, SMTP_EXT_8BITMIME, NULL, 0, 0, 0},
		{HEADER_8BIT, "a@b", QUEUE_SMTPUTF8, ALL, NULL, 1, 0, 0},
		{HEADER_8BIT, "a@b", QUEUE_SMTPUTF8, SMTP_EXT_8BITMIME, "5.6.7", 0, 0, 0},
		{HEADER_8BIT, "a@b", 0, SMTP_EXT_8BITMIME, NULL, 0, 0, 0},
		{NESTED_8BIT, "a@b", QUEUE_SMTPUTF8, ALL, NULL, 1, 0, 0},
		{NESTED_8BIT, "a@b", QUEUE_SMTPUTF8, SMTP_EXT_8BITMIME, "5.6.7", 0, 0, 0},
		{BODY_8BIT, "a@b", QUEUE_SMTPUTF8, ALL, NULL, 0, 0, 0},
		{HEADER_8BIT, "a@b", 0, 0, "5.6.3", 0, 0, 0},
		{ASCII_HEADER,
			"\xc3\xb6"
			"@b",
			QUEUE_SMTPUTF8, ALL, NULL, 1, 0, 1},
		{ASCII_HEADER,
			"\xc3\xb6"
			"@b",
			QUEUE_SMTPUTF8, 0, "5.6.7", 0, 0, 1},
		{BODY_8BIT, "a@b", QUEUE_BINARY, ALL, NULL, 0, 1, 0},
		{BODY_8BIT, "a@b", QUEUE_BINARY, SMTP_EXT_CHUNKING, NULL, 0, 0, 1},
		{ASCII_HEADER, "a@b", QUEUE_REQUIRETLS, ALL, NULL, 0, 0, 1},
		{ASCII_HEADER, "a@b", QUEUE_REQUIRETLS, SMTP_EXT_8BITMIME, "5.7.30", 0, 0, 1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_send_rcpt rcpt = {.address = cases[i].to};
		struct smtp_send m = {
			.sender = "s@b",
			.flags = cases[i].flags,
			.has_8bit = !str_is_ascii(str_of(cases[i].text)),
			.size = strlen(cases[i].text),
			.rcpts = &rcpt,
			.rcpt_count = 1,
			.read = read_text,
			.arg = (void *)(uintptr_t)cases[i].text,
		};
		struct smtp_answer answer = {0};
		struct smtp_fit fit;

		assert_int_equal(smtp_fit(&m, cases[i].ext, 0, 0, &fit, &answer), OK);
		if (cases[i].dsn) {
			assert_non_null(answer.text);
			assert_string_equal(answer.dsn, cases[i].dsn);
		} else {
			assert_null(answer.text);
			assert_int_equal(fit.utf8, cases[i].utf8);
			assert_int_equal(fit.bdat, cases[i].bdat);
			assert_int_equal(!fit.m.has_8bit, cases[i].ascii);
		}
		smtp_answer_free(&answer);
		smtp_fit_free(&fit);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),
		cmocka_unit_test(tlsa_records),
		cmocka_unit_test(deferred_order),
		cmocka_unit_test(deferred_ids),
		cmocka_unit_test(deferred_many),
		cmocka_unit_test(fits),
	};

	return cmocka_run_group_tests_name("sending", tests, NULL, NULL);
}
