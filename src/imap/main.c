/* SPDX-License-Identifier: MIT */
#include "imap/login.h"
#include "trace/trace.h"

static const struct session_program imap_program = {
	.name = "imap",
	.tracer = &trace_imap,
	.handover = "imap",
	.wake = "imap-wake",
	.warm = imap_login_warm,
	.sandbox = imap_login_sandbox,
	.run = imap_login_run,
	.release = imap_login_release,
};

int
main(int argc, char **argv)
{
	return session_main(&imap_program, argc, argv);
}
