/* SPDX-License-Identifier: MIT */
#include "mta-lite/notice.h"

#include <string.h>
#include <time.h>

#include "mail/date.h"
#include "mta-lite/ehlo.h"

void
notice_write(const struct config *conf, const char *to, const char *subject, const char *id,
	struct str text, struct buf *out)
{
	const char *hostname = smtp_hostname(conf);
	int ascii = str_is_ascii(text) && str_is_ascii(str_of(subject));
	time_t now = time(NULL);

	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", hostname);
	if (strchr(to, '@'))
		buf_printf(out, "To: <%s>\r\n", to);
	else
		buf_printf(out, "To: <%s@%s>\r\n", to, hostname);
	buf_printf(out, "Subject: %s\r\nDate: ", subject);
	(void)date_format_rfc5322(now, date_local_zone(now), out);
	buf_printf(out, "\r\nMessage-ID: <%s@%s>\r\n", id, hostname);
	buf_add_cstr(out, "Auto-Submitted: auto-generated\r\n" /* RFC 3834 */
			  "MIME-Version: 1.0\r\n");
	buf_add_cstr(out, ascii ? "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
				: "Content-Type: text/plain; charset=utf-8\r\n"
				  "Content-Transfer-Encoding: 8bit\r\n\r\n");
	buf_add_str(out, text);
}
