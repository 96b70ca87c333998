/* SPDX-License-Identifier: MIT */
#include "index/index_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/hmac.h>

#include "index/core_private.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "index_core_user.h"

/* Access keys of mailboxes, and the tokens that are made with them (RFC 4467). */

#define URL_OF(mailbox, uid) "imap://u@h/" mailbox "/;UID=" uid ";URLAUTH=anonymous"
#define INBOX URL_OF("INBOX", "1")

/* The whole URL; the caller frees it. shared: another's mailbox that it is of, or NULL. */
static char *
sign_shared(struct fixture *f, const char *rump, const struct index_url_box *shared)
{
	char token[INDEX_URL_TOKEN_SIZE];
	struct imap_url url;
	enum err e;

	assert_int_equal(imap_url_parse_auth(str_of(rump), 1, &url), OK);
	e = index_core_url_token(f->c, &url, shared, token);
	imap_url_fini(&url);
	if (e)
		return NULL;
	assert_int_equal(strlen(token), INDEX_URL_TOKEN_SIZE - 1);
	return mem_printf("%s:INTERNAL:%s", rump, token);
}

static char *
sign(struct fixture *f, const char *rump)
{
	return sign_shared(f, rump, NULL);
}

static enum err
try_open_shared(struct fixture *f, const char *text, const struct index_url_box *shared)
{
	struct imap_url url;
	int fd;
	enum err e;

	assert_int_equal(imap_url_parse_auth(str_of(text), 0, &url), OK);
	e = index_core_url_open(f->c, &url, shared, &fd);
	assert_int_equal(e == OK && !shared, fd >= 0);
	io_close(&fd);
	imap_url_fini(&url);
	return e;
}

static enum err
try_open(struct fixture *f, const char *text)
{
	return try_open_shared(f, text, NULL);
}

static void
count_gone(const struct index_url_box *b, void *arg)
{
	assert_int_equal(index_url_box_is_sound(b), 1);
	++*(unsigned *)arg;
}

static enum err
reset_all(struct fixture *f, unsigned *gone)
{
	*gone = 0;
	return index_core_url_reset_all(f->c, count_gone, gone);
}

static enum err
reset(struct fixture *f, const char *mailbox)
{
	return index_core_url_reset(f->c, str_of(mailbox));
}

static unsigned char
hex_byte(const char *p)
{
	char two[3] = {p[0], p[1], '\0'};

	return (unsigned char)strtoul(two, NULL, 16);
}

/* What stands in the file and in the token is what RFC 4467 section 5 says, by another hand. */
static void
a_token_is_the_mac_of_the_url(void **state)
{
	struct fixture *f = *state;
	unsigned char key[32], mac[32];
	unsigned len = sizeof(mac);
	char *path = mem_printf("%s/%s", f->maildir, ENTRY_FILE_URLAUTH), *url, *hex;
	struct buf text = {0};
	struct stat st;

	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_url_any(f->c), 0);
	url = sign(f, INBOX);
	assert_int_equal(index_core_url_any(f->c), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	text.max = 4096;
	assert_int_equal(io_read_file(path, &text), OK);
	hex = strrchr(buf_cstr(&text), ' ') + 1;
	assert_int_equal(strlen(hex), 65);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = hex_byte(hex + 2 * i);
	assert_non_null(HMAC(EVP_sha256(), key, sizeof(key), (const unsigned char *)INBOX,
		strlen(INBOX), mac, &len));
	hex = strrchr(url, ':') + 1;
	assert_int_equal(hex_byte(hex), 1);
	for (size_t i = 0; i < sizeof(mac); i++)
		assert_int_equal(hex_byte(hex + 2 + 2 * i), mac[i]);
	assert_int_equal(try_open(f, url), OK);
	buf_free(&text);
	free(path);
	free(url);
}

/* Each digit counts, and the length. */
static void
other_tokens_open_nothing(void **state)
{
	struct fixture *f = *state;
	char *url, *other;

	append(f, "INBOX", 0, NULL);
	url = sign(f, INBOX);
	for (char *digit = strrchr(url, ':') + 1; *digit; digit++) {
		char was = *digit;

		*digit = was == '0' ? '1' : '0';
		assert_int_equal(try_open(f, url), E_AUTH);
		*digit = was;
	}
	assert_int_equal(try_open(f, url), OK);
	other = mem_printf("%s00", url);
	assert_int_equal(try_open(f, other), E_AUTH);
	free(other);
	url[strlen(url) - 2] = '\0';
	assert_int_equal(try_open(f, url), E_AUTH);
	free(url);
	/* Of mailboxes and messages that are not there, as well. */
	assert_null(sign(f, URL_OF("Nowhere", "1")));
	url = sign(f, URL_OF("INBOX", "2"));
	assert_int_equal(try_open(f, url), E_AUTH);
	free(url);
}

static void
keys_follow_their_mailboxes(void **state)
{
	struct fixture *f = *state;
	uint32_t id;
	char *url, *again;

	assert_int_equal(index_core_create(f->c, STR("Box"), 0, &id), OK);
	append_dir(f, "Box", ".Box");
	url = sign(f, URL_OF("Box", "1"));
	assert_int_equal(index_core_rename(f->c, STR("Box"), STR("Case")), OK);
	assert_int_equal(try_open(f, url), E_AUTH);
	rebuild(f);
	assert_int_equal(index_core_rename(f->c, STR("Case"), STR("Box")), OK);
	assert_int_equal(try_open(f, url), OK);
	again = sign(f, URL_OF("Box", "1"));
	assert_string_equal(url, again);
	free(again);
	assert_int_equal(index_core_delete(f->c, STR("Box")), OK);
	assert_int_equal(index_core_url_any(f->c), 0);
	assert_int_equal(index_core_create(f->c, STR("Box"), 0, &id), OK);
	append_dir(f, "Box", ".Box");
	assert_int_equal(try_open(f, url), E_AUTH);
	free(url);
}

static void
reset_revokes(void **state)
{
	struct fixture *f = *state;
	char *inbox, *box, *again;
	unsigned told, gone;
	uint32_t id;

	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_core_create(f->c, STR("Box"), 0, &id), OK);
	append_dir(f, "Box", ".Box");
	inbox = sign(f, INBOX);
	box = sign(f, URL_OF("Box", "1"));
	told = f->changes;
	assert_int_equal(reset(f, "INBOX"), OK);
	assert_true(f->changes > told);
	assert_int_equal(try_open(f, inbox), E_AUTH);
	assert_int_equal(try_open(f, box), OK);
	again = sign(f, INBOX);
	assert_string_not_equal(inbox, again);
	assert_int_equal(reset(f, "Nowhere"), E_NOTFOUND);
	assert_int_equal(try_open(f, again), OK);
	assert_int_equal(reset_all(f, &gone), OK);
	assert_int_equal(gone, 0);
	assert_int_equal(index_core_url_any(f->c), 0);
	assert_int_equal(try_open(f, again), E_AUTH);
	assert_int_equal(try_open(f, box), E_AUTH);
	free(inbox);
	free(box);
	free(again);
}

#define ID "0123456789abcdef0123456789abcdef"

static void
keys_for_what_others_share(void **state)
{
	const struct index_url_box box = {STR("v@example.test"), STR(ID)},
				   other_box = {STR("v@example.test"), STR("f" ID)},
				   other_owner = {STR("w@example.test"), STR(ID)};
	struct fixture *f = *state;
	char *url, *own;
	unsigned gone;

	append(f, "INBOX", 0, NULL);
	assert_int_equal(index_url_box_is_sound(&box), 1);
	assert_int_equal(index_url_box_is_sound(&other_box), 0);
	assert_int_equal(index_url_box_is_sound(&(struct index_url_box){STR(""), STR(ID)}), 0);
	assert_int_equal(index_url_box_is_sound(&(struct index_url_box){STR("a\nb"), STR(ID)}), 0);
	url = sign_shared(f, URL_OF("other/v/INBOX", "1"), &box);
	own = sign(f, INBOX);
	assert_int_equal(index_core_url_any(f->c), 1);
	assert_int_equal(try_open_shared(f, url, &box), OK);
	/* Another's of whom there is none, and another mailbox under the name. */
	assert_int_equal(try_open(f, url), E_AUTH);
	assert_int_equal(try_open_shared(f, url, &other_owner), E_AUTH);
	assert_int_equal(try_open_shared(f, url, &other_box), E_AUTH);
	run("grep -q '^shared/v@example.test/" ID " ' '%s/%s'", f->maildir, ENTRY_FILE_URLAUTH);
	/* Keys of what others share go when they are reset, not for want of room. */
	run("for n in $(seq 10000 11997); do printf 'mailbox/%%032d %%064d\\n' $n 0; done >>'%s/%s'",
		f->maildir, ENTRY_FILE_URLAUTH);
	free(sign_shared(f, URL_OF("other/w/INBOX", "1"), &other_owner));
	run("test $(wc -l <'%s/%s') = 4", f->maildir, ENTRY_FILE_URLAUTH);
	assert_int_equal(try_open_shared(f, url, &box), OK);
	assert_int_equal(index_core_url_reset_shared(f->c, &box), OK);
	assert_int_equal(try_open_shared(f, url, &box), E_AUTH);
	assert_int_equal(try_open(f, own), OK);
	free(url);
	url = sign_shared(f, URL_OF("other/v/INBOX", "1"), &box);
	assert_int_equal(try_open_shared(f, url, &box), OK);
	assert_int_equal(reset_all(f, &gone), OK);
	assert_int_equal(gone, 2);
	assert_int_equal(try_open_shared(f, url, &box), E_AUTH);
	assert_int_equal(try_open(f, own), E_AUTH);
	free(url);
	free(own);
}

static void
damaged_keys_open_nothing(void **state)
{
	static const char *const bad[] = {"", "roost 2\n", "nonsense", "roost 1\n",
		"roost 1\nmailbox/00000000000000000000000000000000 00\n"};
	struct fixture *f = *state;

	append(f, "INBOX", 0, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *url = sign(f, INBOX), *again;

		write_file(f, ENTRY_FILE_URLAUTH, bad[i]);
		assert_int_equal(try_open(f, url), E_AUTH);
		again = sign(f, INBOX);
		assert_string_not_equal(url, again);
		assert_int_equal(try_open(f, again), OK);
		free(url);
		free(again);
	}
	/* A key that is none is replaced. */
	run("rm '%s/%s'", f->maildir, ENTRY_FILE_URLAUTH);
	free(sign(f, INBOX));
	run("sed -i '2s/ [0-9a-f]*$/ 0123/' '%s/%s'", f->maildir, ENTRY_FILE_URLAUTH);
	assert_int_equal(index_core_url_any(f->c), 1);
	free(sign(f, INBOX));
	run("! grep -q ' 0123$' '%s/%s'", f->maildir, ENTRY_FILE_URLAUTH);
}

/* Mailboxes that another program removed leave their keys; at the bound those make room. */
static void
old_keys_make_room(void **state)
{
	struct fixture *f = *state;
	uint32_t id;
	char *url, *box;

	append(f, "INBOX", 0, NULL);
	url = sign(f, INBOX);
	run("for n in $(seq 10000 11998); do printf 'mailbox/%%032d %%064d\\n' $n 0; done >>'%s/%s'",
		f->maildir, ENTRY_FILE_URLAUTH);
	assert_int_equal(try_open(f, url), OK);
	assert_int_equal(index_core_create(f->c, STR("Box"), 0, &id), OK);
	append_dir(f, "Box", ".Box");
	box = sign(f, URL_OF("Box", "1"));
	assert_int_equal(try_open(f, url), OK);
	assert_int_equal(try_open(f, box), OK);
	run("test $(wc -l <'%s/%s') = 3", f->maildir, ENTRY_FILE_URLAUTH);
	free(url);
	free(box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, core_user_setup, core_user_teardown)
		CASE(a_token_is_the_mac_of_the_url),
		CASE(other_tokens_open_nothing),
		CASE(keys_follow_their_mailboxes),
		CASE(reset_revokes),
		CASE(keys_for_what_others_share),
		CASE(damaged_keys_open_nothing),
		CASE(old_keys_make_room),
	};

	log_init("test", LOGL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
