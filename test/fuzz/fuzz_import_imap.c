/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "import/imap_client.h"
#include "lib/log.h"

/* A server's words, read as answers to the commands of an import. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
	struct imap_namespaces spaces;
};

static enum err
fill(void *arg, char *p, size_t cap, size_t *got)
{
	struct input *in = arg;
	size_t n = in->left < 7 ? in->left : 7;

	n = n < cap ? n : cap;
	if (!n)
		return E_CLOSED;
	memcpy(p, in->p, n);
	in->p += n;
	in->left -= n;
	*got = n;
	return OK;
}

static enum err
on_any(struct imap_client *c, struct imap_in *in, const struct imap_untagged *u, int *taken,
	void *arg)
{
	struct input *input = arg;
	enum err e = OK;

	(void)c;
	*taken = 1;
	if (strcmp(u->word, "FETCH") == 0) {
		struct imap_fetch f = {0};

		e = imap_fetch_read(in, &f);
		ROOST_ASSERT(e || in->depth == 0);
		import_flags_free(&f.flags);
	} else if (strcmp(u->word, "LIST") == 0) {
		struct imap_list l;

		e = imap_list_read(in, &l);
		ROOST_ASSERT(l.name.len <= IMAP_IN_TEXT_MAX);
		buf_free(&l.name);
	} else if (strcmp(u->word, "NAMESPACE") == 0) {
		imap_namespaces_free(&input->spaces);
		e = imap_namespaces_read(in, &input->spaces);
		ROOST_ASSERT(input->spaces.count <= IMAP_NAMESPACES_MAX);
	} else {
		*taken = 0;
	}
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.p = data, .left = size};
	struct imap_client *c = imap_client_replay(fill, &input);
	enum err e;

	do
		e = imap_client_wait(c, imap_client_send(c, "NOOP"), on_any, &input);
	while (!imap_client_is_broken(e));
	imap_namespaces_free(&input.spaces);
	imap_client_close(&c);
	return 0;
}
