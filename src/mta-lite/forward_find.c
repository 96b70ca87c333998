/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/net.h"
#include "mta-lite/aliases.h"
#include "mta-lite/forward.h"
#include "mta-lite/local_frame.h"

/* A home may lie on a server that answers slowly. */
enum { ASK_CONNECT_MS = 10 * 1000, ASK_WAIT_MS = 30 * 1000 };

enum err
forward_find(
	const struct config *conf, const struct aliases *a, struct str address, struct forward *out)
{
	struct ipc_msg m = {.fds = {-1, -1, -1, -1}};
	struct buf body = {0};
	char *path;
	int fd = -1;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (conf->forward_path.count == 0 || !aliases_is_local(a, address))
		return OK;
	path = conf_run_path(conf, "local-run");
	ipc_put_str(&body, address);
	e = net_connect_unix(path, ASK_CONNECT_MS, &fd);
	if (e == OK)
		e = ipc_send(fd, LOCAL_FORWARD, 0, buf_str(&body), NULL, 0, ASK_CONNECT_MS);
	if (e == OK)
		e = ipc_recv(fd, &m, ASK_WAIT_MS);
	if (e == OK)
		e = m.type == LOCAL_FORWARDS ? forward_get(buf_str(&m.body), out) : E_PROTO;
	if (e)
		log_event(LOGL_WARN, "local.forward failed", "error", err_word(e), NULL);
	ipc_msg_free(&m);
	io_close(&fd);
	buf_free(&body);
	free(path);
	return e ? E_TEMPFAIL : OK;
}
