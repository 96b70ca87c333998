/* SPDX-License-Identifier: MIT */
#include "auth/saslauthd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/buf.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/net.h"

#define NAME "SASLAUTHD"
#define SCHEME "{" NAME "}"

/* A longer field makes saslauthd hang up; an answer is one line. */
enum { FIELD_MAX = 255, ANSWER_MAX = 1024 };

int
saslauthd_is_meant(const char *stored)
{
	return str_starts_i(str_of(stored), SCHEME);
}

int
saslauthd_is_scheme(const char *scheme)
{
	return str_is_i(str_of(scheme), NAME);
}

enum err
saslauthd_stored(const char *name, char **out)
{
	*out = NULL;
	if (strlen(name) > FIELD_MAX || str_has_control(str_of(name)))
		return E_RANGE;
	*out = mem_printf(SCHEME "%s", name);
	return OK;
}

/* ---- the protocol of its socket: texts with their length in front, two bytes, big-endian ---- */

/* E_RANGE: nothing that anybody there can be or have. */
static enum err
add_field(struct buf *out, struct str text)
{
	if (text.len > FIELD_MAX || (text.len > 0 && memchr(text.p, 0, text.len)))
		return E_RANGE;
	buf_add_char(out, '\0');
	buf_add_char(out, (char)text.len);
	return buf_add_str(out, text);
}

static enum err
write_request(const char *stored, const struct addr *user, struct str service, struct str password,
	struct buf *out)
{
	struct str name = str_of(stored + strlen(SCHEME)), realm = {0};
	size_t at = name.len;
	enum err e;

	if (name.len == 0) {
		name = str_of(user->local);
		realm = str_of(user->domain);
	} else {
		while (at > 0 && name.p[at - 1] != '@')
			at--;
		if (at > 0) {
			realm = str_make(name.p + at, name.len - at);
			name.len = at - 1;
		}
	}
	/* Some of what it asks takes an empty one as "no password wanted". */
	if (name.len == 0 || password.len == 0)
		return E_RANGE;
	e = add_field(out, name);
	e = e ? e : add_field(out, password);
	e = e ? e : add_field(out, service);
	return e ? e : add_field(out, realm);
}

static int
left_ms(int64_t deadline_ms)
{
	int64_t left = deadline_ms - io_now_ms();

	return left > 0 ? (int)left : 0;
}

static enum err
send_all(int fd, struct str bytes, int64_t deadline_ms)
{
	while (bytes.len > 0) {
		ssize_t n = send(fd, bytes.p, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		enum err e;

		if (n >= 0) {
			bytes = str_make(bytes.p + n, bytes.len - (size_t)n);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return err_from_errno(errno);
		e = io_wait_writable(fd, left_ms(deadline_ms));
		if (e)
			return e;
	}
	return OK;
}

/* All len bytes; E_CLOSED else. */
static enum err
receive(int fd, void *to, size_t len, int64_t deadline_ms)
{
	char *p = to;

	while (len > 0) {
		enum err e = io_wait_readable(fd, left_ms(deadline_ms));
		ssize_t n;

		if (e)
			return e;
		n = recv(fd, p, len, MSG_DONTWAIT);
		if (n == 0)
			return E_CLOSED;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_from_errno(errno);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return OK;
}

static enum err
ask(const struct auth_settings *s, struct str request, struct buf *answer)
{
	int64_t deadline_ms = io_now_ms() + s->saslauthd_timeout_ms;
	unsigned char head[2] = {0};
	char text[ANSWER_MAX];
	size_t len;
	int fd = -1;
	enum err e = net_connect_unix(s->saslauthd_socket, s->saslauthd_timeout_ms, &fd);

	if (e)
		return e;
	e = send_all(fd, request, deadline_ms);
	e = e ? e : receive(fd, head, sizeof(head), deadline_ms);
	len = (size_t)head[0] << 8 | head[1];
	if (e == OK)
		e = len <= sizeof(text) ? receive(fd, text, len, deadline_ms) : E_PROTO;
	if (e == OK)
		buf_add(answer, text, len);
	io_close(&fd);
	return e;
}

/* "OK", or "NO" and why: wrong, or it could not find out. */
static enum err
judge(struct str answer)
{
	static const char *const failures[] = {
		"[ALERT]", "internal", "PAM start error", "principal name error", NULL};

	if (str_starts_i(answer, "OK"))
		return OK;
	if (!str_starts_i(answer, "NO"))
		return E_PROTO;
	for (size_t i = 0; failures[i]; i++)
		if (memmem(answer.p, answer.len, failures[i], strlen(failures[i])))
			return E_TEMPFAIL;
	return E_AUTH;
}

enum err
saslauthd_verify(const struct auth_settings *s, const char *stored, const struct addr *user,
	const char *service, struct str password)
{
	struct buf request = {0}, answer = {0};
	enum err e = E_UNSUPPORTED;

	if (s->saslauthd_socket[0]) {
		const char *as = s->saslauthd_service[0] ? s->saslauthd_service : service;

		if (write_request(stored, user, str_of(as), password, &request)) {
			e = E_AUTH;
		} else {
			e = ask(s, buf_str(&request), &answer);
			e = e ? e : judge(buf_str(&answer));
		}
	}
	if (e && e != E_AUTH) {
		log_event(LOGL_ERROR, "auth.saslauthd fail", "user", user->text, "socket",
			s->saslauthd_socket, "reason", err_word(e), "answer",
			answer.len ? log_str(buf_str(&answer)) : NULL, NULL);
		e = E_TEMPFAIL;
	}
	buf_wipe(&request);
	buf_free(&request);
	buf_free(&answer);
	return e;
}
