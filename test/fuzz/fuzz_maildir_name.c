/* SPDX-License-Identifier: MIT */
#include "index/maildir_name.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "index/index_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any name: what is parsed and built again must parse to the same. And any bytes as records. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str name = str_make((const char *)data, size);
	struct index_message_record message;
	struct index_mailbox_record mailbox;
	struct index_state state;
	struct maildir_name n, again;
	struct buf b = {0};
	MDB_val v = {.mv_size = size, .mv_data = (void *)data};

	if (maildir_name_parse(name, &n) == OK &&
		maildir_base_rebuild(&n, n.size, n.crlf_size, n.uid, &b) == OK) {
		maildir_info_build(n.flags, n.letters, n.others, &b);
		if (b.len > MAILDIR_NAME_MAX || maildir_name_parse(buf_str(&b), &again) ||
			again.flags != n.flags || again.letters != n.letters ||
			again.others != n.others || again.uid != n.uid)
			abort();
	}
	buf_reset(&b);
	if (index_message_decode(&v, &message) == OK) {
		index_message_path(STR(".x"), &message, &b);
		index_message_wanted_path(STR(".x"), &message, 7, &b);
	}
	(void)index_mailbox_decode(&v, &mailbox);
	(void)index_state_decode(&v, &state);
	buf_free(&b);
	return 0;
}
