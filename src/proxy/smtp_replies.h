/* SPDX-License-Identifier: MIT */
#ifndef ROOST_PROXY_SMTP_REPLIES_H
#define ROOST_PROXY_SMTP_REPLIES_H

/* What the common code says to a client of SMTP, submission and LMTP, for prelogin_protocol. */
#define SMTP_REPLIES                                                                               \
	{                                                                                          \
		[REPLY_BAD_BASE64] = "501 5.5.2 Invalid base64\r\n",                               \
		[REPLY_CANCELLED] = "501 5.7.0 Authentication cancelled\r\n",                      \
		[REPLY_AUTH_FAILED] = "535 5.7.8 Authentication failed\r\n",                       \
		[REPLY_AUTH_DISABLED] = "535 5.7.8 This account is disabled\r\n",                  \
		[REPLY_AUTH_MECHANISM] = "504 5.5.4 Unsupported authentication mechanism\r\n",     \
		[REPLY_AUTH_RESPONSE] = "501 5.5.2 Invalid authentication response\r\n",           \
		[REPLY_AUTH_TEMPFAIL] = "454 4.7.0 Temporary authentication failure\r\n",          \
		[REPLY_AUTH_LIMIT] = "454 4.7.0 Too many connections of this user\r\n",            \
		[REPLY_NEED_TLS] = "538 5.7.11 Encryption required: send STARTTLS first\r\n",      \
		[REPLY_LINE_TOO_LONG] = "500 5.5.6 Line too long\r\n",                             \
		[REPLY_TOO_MANY_ATTEMPTS] = "421 4.7.0 Too many failed log-ins\r\n",               \
		[REPLY_TOO_MANY_ERRORS] = "421 4.7.0 Too many commands without mail\r\n",          \
		[REPLY_TIMEOUT] = "421 4.4.2 Too slow\r\n",                                        \
		[REPLY_SHUTDOWN] = "421 4.3.2 Server is shutting down\r\n",                        \
		[REPLY_NO_SESSION] = "421 4.3.2 Mail service is not available, try later\r\n",     \
		[REPLY_BUSY] = "421 4.3.2 Too many connections, try later\r\n",                    \
		[REPLY_BUSY_HOST] = "421 4.7.0 Too many connections from your address\r\n",        \
	}

#endif
