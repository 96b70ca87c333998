/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "proxy/screen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/log.h"
#include "mta-lite/ehlo.h"

static int
is_tested(const struct client *c)
{
	const struct config *conf = proxy_conf(c->px);

	return conf->postscreen && c->prelogin.proto == &prelogin_smtp && !c->refused &&
	       !c->prelogin.xclient &&
	       !net_in_networks(conf->mynetworks.items, conf->mynetworks.count, &c->peer) &&
	       !known_has(c->px->known, &c->peer, (int64_t)time(NULL));
}

int
screen_begin(struct client *c)
{
	const struct config *conf = proxy_conf(c->px);
	struct prelogin *p = &c->prelogin;

	if (!is_tested(c))
		return 0;
	p->screened = 1;
	if (conf->postscreen_greet_wait == 0)
		return 0;
	c->phase = CLIENT_SCREEN;
	/* A line that is not the last of the greeting: who knows SMTP goes on waiting. */
	if (conf->postscreen_greet_banner[0])
		buf_printf(&p->out, "220-%s\r\n", conf->postscreen_greet_banner);
	else
		buf_printf(&p->out, "220-%s ESMTP\r\n", smtp_hostname(conf));
	client_arm(&c->wait, conf->postscreen_greet_wait);
	screen_ready(c);
	return 1;
}

void
screen_ready(struct client *c)
{
	struct prelogin *p = &c->prelogin;
	int gone = 0, sent = client_flush(c, &gone);
	ssize_t n;
	char one;

	if (gone)
		return;
	n = recv(c->conn.fd, &one, 1, MSG_PEEK);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		client_close(c, "closed before the greeting");
		return;
	}
	if (n < 0) {
		conn_want(&c->conn, 1, !sent);
		return;
	}
	prelogin_screen_failed(p, TEST_PREGREET, proxy_conf(c->px)->postscreen_greet_action);
	if (p->state == PRELOGIN_CLOSED) {
		event_del(&c->wait);
		client_begin_dialogue(c);
		return;
	}
	/* It waits all the same, and nothing that it says is read until then. */
	conn_want(&c->conn, 0, !sent);
}

void
screen_over(struct client *c)
{
	struct prelogin *p = &c->prelogin;
	const struct config *conf = proxy_conf(c->px);

	/* What comes later is tested, too, where that is asked for: screen_passed. */
	if (!p->screen_failed && !conf->postscreen_pipelining_enable &&
		!conf->postscreen_bare_newline_enable)
		screen_passed(c);
	prelogin_greet(p);
	client_begin_dialogue(c);
}

void
screen_passed(struct client *c)
{
	int64_t ttl = proxy_conf(c->px)->postscreen_greet_ttl / 1000;
	struct prelogin *p = &c->prelogin;

	if (!p->screened || p->screen_failed)
		return;
	p->screened = 0;
	known_add(c->px->known, &c->peer, (int64_t)time(NULL) + ttl);
	log_event(LOGL_INFO, "proxy.screen passed", "session", c->id, "ip", p->ip, NULL);
}
