/* SPDX-License-Identifier: MIT */
#ifndef ROOST_AUTH_PROTO_H
#define ROOST_AUTH_PROTO_H

/*
 * Frames (lib/ipc.h) spoken on auth's sockets. Every request has a request id that the answer
 * repeats. "str" is a length-prefixed string, list = u32 count, then the items.
 */
enum auth_frame {
	/*
	 * auth-login. One exchange has one request id, chosen by the proxy and unique on the
	 * connection while the exchange lasts.
	 * START: str service ("imap", "pop3", "submission"), str mechanism, u8 has_initial, str
	 * initial response (decoded), str peer "ip:port", str local "ip:port", u8 tls, str session
	 * id, str tls-exporter (RFC 9266), str tls-unique (RFC 5929): channel bindings, empty where
	 * there are none, str the user whom the client's verified certificate names, or empty.
	 * Pre-login LOGIN and USER/PASS come as mechanism "PLAIN" with
	 * "\0user\0password".
	 */
	AUTH_START = 1,
	AUTH_CONTINUE = 2, /* either way: str data (decoded challenge or response) */
	AUTH_ABORT = 3, /* proxy: the client cancelled ("*") or went away; no answer */
	/*
	 * auth: str user, str token, str data (SASL success data, mostly empty), u32 and u32: how
	 * many connections this user may have, in all and from one address; 0: no limit
	 */
	AUTH_DONE = 4,
	AUTH_FAILED = 5, /* auth: u32 enum err: E_AUTH, E_ACCESS (switched off), E_TEMPFAIL, E_PARSE
			  * (bad response), E_UNSUPPORTED (mechanism); str text for the client; str
			  * and str: with E_ACCESS the server that has the user's mail
			  * (auth/moved.h) and his name there, else empty; str who tried, as
			  * written, or empty. Sent after the penalty's delay. */
	/*
	 * proxy: nothing; answer of the same type: four lists with blanks, of what is offered over
	 * TLS, without TLS where a password may be sent all the same (a loopback client, or
	 * allow_plaintext_auth), without TLS else, and over TLS with a certificate that names a
	 * user.
	 */
	AUTH_MECHANISMS = 6,

	/* auth-session */
	AUTH_REDEEM = 10, /* str token, str service, str session id; answer AUTH_USER or AUTH_ERROR:
			   * E_TEMPFAIL, also for a token that is not good (of another service or
			   * session, used, expired). Never E_AUTH: the log-in was good. */
	/*
	 * str name, str home, str ticket, u64 quota bytes, u64 quota messages, str quota
	 * rules, str detail, str resume: of an "imap" session what AUTH_RESUME takes, else "", str
	 * moved to: in answer to LOOKUP_USER and RESUME the server that has this user's mail, else
	 * ""; of one who slept and has moved ticket and resume are "" too
	 */
	AUTH_USER = 11,
	/*
	 * A session that slept: str resume, str session id; answer AUTH_USER or AUTH_ERROR: E_AUTH
	 * (not issued for this session), E_NOTFOUND, E_ACCESS (switched off), E_TEMPFAIL.
	 * The user is looked up anew.
	 */
	AUTH_RESUME = 12,

	/* auth-directory */
	AUTH_LOOKUP_RCPT = 20, /* str address; answer AUTH_RCPT or AUTH_ERROR */
	AUTH_RCPT = 21, /* u8 kind, str mailbox, str detail, u32 n, n * (str address, u8 local) */
	AUTH_MAY_SEND_AS = 22, /* str user, str address; answer AUTH_OK or AUTH_ERROR */
	AUTH_OK = 23,

	/* auth-userdb */
	AUTH_LOOKUP_USER = 30, /* str address; answer AUTH_USER or AUTH_ERROR */

	AUTH_ERROR = 99, /* u32 enum err, str text */
};

/*
 * A token is text of hex digits, good once, for this long, for the service and session id of its
 * START; also at another roost-auth that has taken this one's place, but once over all of them.
 */
enum { AUTH_TOKEN_LIFETIME_MS = 30 * 1000 };

#endif
