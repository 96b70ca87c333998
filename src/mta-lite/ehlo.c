/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mta-lite/ehlo.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/str.h"

/* Without a resolver's answer the bare name of the machine must do. */
static const char *
machine_name(void)
{
	static char name[256];
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_flags = AI_CANONNAME}, *list = NULL;

	if (name[0] != '\0')
		return name;
	if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
		memcpy(name, "localhost", sizeof("localhost"));
	name[sizeof(name) - 1] = '\0';
	if (strchr(name, '.') == NULL && getaddrinfo(name, NULL, &hints, &list) == 0) {
		const char *full = list ? list->ai_canonname : NULL;

		if (full && strchr(full, '.') && strlen(full) < sizeof(name))
			memcpy(name, full, strlen(full) + 1);
	}
	if (list)
		freeaddrinfo(list);
	return name;
}

const char *
smtp_hostname(const struct config *conf)
{
	return conf->hostname && conf->hostname[0] ? conf->hostname : machine_name();
}

void
smtp_hold_date_write(struct buf *out, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 4865 section 4.1: how many seconds, and until when. */
static void
add_future_release(struct buf *out)
{
	buf_printf(out, "250-FUTURERELEASE %d ", SMTP_HOLD_MAX);
	smtp_hold_date_write(out, (int64_t)time(NULL) + SMTP_HOLD_MAX);
	buf_add_cstr(out, "\r\n");
}

void
smtp_ehlo_write(struct buf *out, const struct config *conf, const struct smtp_ehlo_options *opt)
{
	const char *name = opt->hostname && opt->hostname[0] ? opt->hostname : smtp_hostname(conf);

	buf_printf(out, "250-%s\r\n", name);
	buf_add_cstr(out, "250-PIPELINING\r\n"); /* RFC 2920 */
	buf_printf(out, "250-SIZE %llu\r\n", (unsigned long long)conf->max_message_size);
	if (opt->tls_available)
		buf_add_cstr(out, "250-STARTTLS\r\n"); /* RFC 3207 */
	if (opt->auth && opt->auth[0])
		buf_printf(out, "250-AUTH %s\r\n", opt->auth); /* RFC 4954 */
	if (opt->xclient)
		buf_add_cstr(out, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN REVERSE_NAME\r\n");
	if (opt->xforward)
		buf_add_cstr(out, "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n");
	buf_add_cstr(out, "250-CHUNKING\r\n250-BINARYMIME\r\n"); /* RFC 3030 */
	buf_add_cstr(out, "250-MT-PRIORITY\r\n"); /* RFC 6710 */
	/* RFC 8689 section 2: only where it can be kept. */
	if (opt->tls)
		buf_add_cstr(out, "250-REQUIRETLS\r\n");
	if (opt->etrn)
		buf_add_cstr(out, "250-ETRN\r\n"); /* RFC 1985 */
	if (opt->submission)
		add_future_release(out);
	buf_printf(out, "250-LIMITS RCPTMAX=%lld\r\n", /* RFC 9422 */
		(long long)conf->smtpd_recipient_limit);
	buf_add_cstr(out, "250-ENHANCEDSTATUSCODES\r\n"); /* RFC 2034 */
	buf_add_cstr(out, "250-8BITMIME\r\n"); /* RFC 6152 */
	if (conf->smtputf8_enable)
		buf_add_cstr(out, "250-SMTPUTF8\r\n"); /* RFC 6531 */
	buf_add_cstr(out, "250 DSN\r\n"); /* RFC 3461 */
}
