/* SPDX-License-Identifier: MIT */
#include "imap/deflate.h"
#include "imap/imap.h"

/*
 * COMPRESS (RFC 4978). The client waits for the answer, and what it sends is compressed from then
 * on; if it did not wait, what it sent in front of the answer is taken for compressed all the same.
 * Secrets that a third party could find by making the client fetch text of its choice and looking
 * at lengths do not come behind a log-in (section 6).
 */
static enum err
run_compress(struct imap_session *s, struct imap_parser *p)
{
	struct str name = {NULL, 0};
	enum err e;

	(void)imap_parse_space(p);
	(void)imap_parse_atom(p, "expected a mechanism", &name);
	if (imap_parse_end(p))
		return p->err;
	if (!str_is_i(name, "DEFLATE"))
		return imap_parser_fail(p, E_PARSE, "unknown mechanism");
	if (stream_filter_ctx(s->client))
		return imap_reply_no(s, "COMPRESSIONACTIVE", "DEFLATE is active already");
	(void)imap_reply_ok(s, NULL, "DEFLATE active");
	e = imap_deflate_start(s->client, (struct str){NULL, 0});
	if (e)
		imap_bye(s, "compress", "No memory to compress with");
	return OK;
}

const struct imap_command imap_command_compress = {
	.name = "COMPRESS",
	.rfc = "4978 3",
	.states = IN_BOTH,
	.sync = IMAP_SYNC_ALL,
	.capabilities = "COMPRESS=DEFLATE",
	.run = run_compress,
};
