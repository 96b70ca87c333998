/* SPDX-License-Identifier: MIT */
#ifndef ROOST_TRACE_TRACE_H
#define ROOST_TRACE_TRACE_H

#include "lib/session.h"

/* trace_text.h as session programs have it. */
extern const struct session_tracer trace_imap, trace_pop3, trace_smtp;

#endif
