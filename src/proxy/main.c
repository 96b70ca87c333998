/* SPDX-License-Identifier: MIT */
#include "proxy/proxy.h"
#include "proxy/service.h"

/* The listeners: their name, their protocol, whether TLS comes first. */
enum { L_SMTP, L_SUBMISSION, L_SUBMISSIONS, L_REINJECT, L_IMAP, L_IMAPS, L_POP3, L_POP3S, L_LMTP };
static const struct proxy_listener kinds[] = {
	[L_SMTP] = {"smtp", &prelogin_smtp, TLS_SMTP, 0},
	[L_SUBMISSION] = {"submission", &prelogin_submission, TLS_SMTP, 0},
	[L_SUBMISSIONS] = {"submissions", &prelogin_submission, TLS_SMTP, 1},
	[L_REINJECT] = {"reinject", &prelogin_reinject, TLS_SMTP, 0},
	[L_IMAP] = {"imap", &prelogin_imap, TLS_IMAP, 0},
	[L_IMAPS] = {"imaps", &prelogin_imap, TLS_IMAP, 1},
	[L_POP3] = {"pop3", &prelogin_pop3, TLS_POP3, 0},
	[L_POP3S] = {"pop3s", &prelogin_pop3, TLS_POP3, 1},
	[L_LMTP] = {"lmtp", &prelogin_lmtp, TLS_LMTP, 0},
};

/* on_accept is not told its listener, hence a function each. */
#define ACCEPT(fn, kind)                                                                           \
	static void fn(struct service_run *run, int fd, const struct net_addr *peer)               \
	{                                                                                          \
		client_start(service_state(run), &kinds[kind], fd, peer);                          \
	}
ACCEPT(accept_smtp, L_SMTP)
ACCEPT(accept_submission, L_SUBMISSION)
ACCEPT(accept_submissions, L_SUBMISSIONS)
ACCEPT(accept_reinject, L_REINJECT)
ACCEPT(accept_imap, L_IMAP)
ACCEPT(accept_imaps, L_IMAPS)
ACCEPT(accept_pop3, L_POP3)
ACCEPT(accept_pop3s, L_POP3S)
ACCEPT(accept_lmtp, L_LMTP)

static void
accept_return(struct service_run *run, int fd, const struct net_addr *peer)
{
	(void)peer;
	returned_accept(service_state(run), fd, kinds, sizeof kinds / sizeof *kinds);
}

static const struct service_listener listeners[] = {
	{"smtp", accept_smtp},
	{"submission", accept_submission},
	{"submissions", accept_submissions},
	{"reinject", accept_reinject},
	{"imap", accept_imap},
	{"imaps", accept_imaps},
	{"pop3", accept_pop3},
	{"pop3s", accept_pop3s},
	{"lmtp", accept_lmtp},
	{"proxy-return", accept_return},
	{NULL, NULL},
};

static enum err
begin(struct service_run *run)
{
	enum err e = proxy_begin(run);
	int fd;

	/* Of those that nobody listens for no daemon may be there. */
	for (size_t i = 0; !e && i < sizeof kinds / sizeof *kinds; i++)
		if (service_listener_fds(run, kinds[i].name, &fd, 1) == 1)
			traces_start(service_state(run), proxy_target_of(kinds[i].proto));
	return e;
}

/* No sandbox function: no file, no network connection, no process is needed after the start. */
static const struct service proxy_service = {
	.name = "proxy",
	.listeners = listeners,
	.start = proxy_start,
	.begin = begin,
	.reload = proxy_reload,
	.drain = proxy_drain,
	.stop = proxy_stop,
	.status = proxy_status,
};

int
main(int argc, char **argv)
{
	return service_main(&proxy_service, argc, argv);
}
