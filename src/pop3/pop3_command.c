/* SPDX-License-Identifier: MIT */
#include "pop3/pop3_command.h"

static const struct {
	const char *name;
	enum pop3_verb verb;
	int args_min, args_max;
} verbs[] = {
	{"STAT", POP3_STAT, 0, 0},
	{"LIST", POP3_LIST, 0, 1},
	{"UIDL", POP3_UIDL, 0, 1},
	{"TOP", POP3_TOP, 2, 2},
	{"RETR", POP3_RETR, 1, 1},
	{"DELE", POP3_DELE, 1, 1},
	{"NOOP", POP3_NOOP, 0, 0},
	{"RSET", POP3_RSET, 0, 0},
	{"QUIT", POP3_QUIT, 0, 0},
	{"CAPA", POP3_CAPA, 0, 0},
	{"LANG", POP3_LANG, 0, 1},
};

enum err
pop3_command_parse(struct str line, struct pop3_command *out)
{
	struct str rest = str_trim(line), name = str_split(&rest, ' ');
	size_t i, n = sizeof(verbs) / sizeof(verbs[0]);

	*out = (struct pop3_command){.verb = POP3_UNKNOWN};
	for (i = 0; i < n; i++) {
		if (str_is_i(name, verbs[i].name)) {
			break;
		}
	}
	if (i == n) {
		return E_UNSUPPORTED;
	}
	out->verb = verbs[i].verb;
	if (out->verb == POP3_LANG) {
		out->text = str_trim(rest);
		return str_find(out->text, 0, ' ') < out->text.len ? E_PARSE : OK;
	}
	while (rest.p != NULL) {
		struct str arg = str_split(&rest, ' ');
		enum err e;

		if (arg.len == 0) {
			continue; /* more than one blank */
		}
		if (out->arg_count == verbs[i].args_max) {
			return E_PARSE;
		}
		e = str_to_u32(arg, &out->args[out->arg_count]);
		if (e) {
			return e;
		}
		/* The first is a message number; TOP's second counts lines and may be 0. */
		if (out->arg_count == 0 && out->args[0] == 0) {
			return E_RANGE;
		}
		out->arg_count++;
	}
	return out->arg_count < verbs[i].args_min ? E_PARSE : OK;
}
