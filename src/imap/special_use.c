/* SPDX-License-Identifier: MIT */
#include "imap/special_use.h"

#include "index/index_client.h"

static const struct {
	unsigned bit;
	const char *name;
	const char *xlist; /* what XLIST called it, where that is another name */
} uses[] = {
	{INDEX_USE_ALL, "All", "AllMail"},
	{INDEX_USE_ARCHIVE, "Archive", NULL},
	{INDEX_USE_DRAFTS, "Drafts", NULL},
	{INDEX_USE_FLAGGED, "Flagged", "Starred"},
	{INDEX_USE_JUNK, "Junk", "Spam"},
	{INDEX_USE_SENT, "Sent", NULL},
	{INDEX_USE_TRASH, "Trash", NULL},
};

unsigned
imap_special_use_find(struct str name)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if (str_is_i(name, uses[i].name))
			return uses[i].bit;
	return 0;
}

void
imap_special_use_write(unsigned use, struct buf *out)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if (use & uses[i].bit)
			(void)buf_printf(out, " \\%s", uses[i].name);
}

void
imap_special_use_write_xlist(unsigned use, struct buf *out)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if ((use & uses[i].bit) && uses[i].xlist)
			(void)buf_printf(out, " \\%s", uses[i].xlist);
}
