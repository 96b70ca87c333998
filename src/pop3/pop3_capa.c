/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "pop3/pop3_capa.h"

#include <inttypes.h>
#include <string.h>

int
pop3_expire_ok(const char *text)
{
	uint32_t days;

	return str_is_i(str_of(text), "NEVER") || str_to_u32(str_of(text), &days) == OK;
}

void
pop3_capa_common(struct buf *out, const struct config *conf)
{
	int64_t delay_s = (conf->pop3_login_delay + 999) / 1000;

	buf_add_cstr(out, "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
	if (pop3_expire_ok(conf->pop3_expire))
		buf_printf(out, "EXPIRE %s\r\n", conf->pop3_expire);
	/* RFC 2449 section 6.5, in seconds. */
	if (delay_s > 0)
		buf_printf(out, "LOGIN-DELAY %" PRId64 "\r\n", delay_s);
	buf_add_cstr(out, "UTF8 USER\r\nLANG\r\nIMPLEMENTATION Roost\r\n");
}

/*
 * There is one language, English. RFC 4647 section 3.3.1: the range "en" stands for "en", and "*"
 * for what we like; "en-GB" asks for more than there is. RFC 2277 section 4.5 calls the texts that
 * a server has for want of others "i-default"; they are the same here.
 */
void
pop3_lang_answer(struct buf *out, struct str argument)
{
	if (argument.len == 0)
		buf_add_cstr(
			out, "+OK Languages follow\r\ni-default English\r\nen English\r\n.\r\n");
	else if (str_is(argument, "*") || str_is_i(argument, "en"))
		buf_add_cstr(out, "+OK en Texts are in English\r\n");
	else if (str_is_i(argument, "i-default"))
		buf_add_cstr(out, "+OK i-default Texts are in English\r\n");
	else
		buf_add_cstr(out, "-ERR There is no such language here\r\n");
}
