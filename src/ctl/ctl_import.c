/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_tool.h"
#include "import/backup.h"
#include "import/import_verbs.h"

/* Mail and settings from elsewhere. */

const struct tool_verb tool_verbs_import[] = {
	{"import", "imap",
		"USER --host HOST --login LOGIN [--password-file FILE] [--port PORT]\n"
		"        [--tls | --starttls | --plain] [--ca-file FILE] [--insecure] "
		"[--keep-names]\n"
		"        [--mailbox PATTERN]... [--exclude PATTERN]... [--map OLD=NEW]...",
		"Copies a user's mail from another IMAP server; again: what is new there",
		import_imap},
	{"import", "mbox", "USER FILE [--mailbox NAME] [--format auto|mboxo|mboxrd|mboxcl2]",
		"Copies the messages of an mbox file, or of a directory of them", import_mbox},
	{"import", "maildir", "USER DIRECTORY [--mailbox NAME]",
		"Copies a Maildir with its folders, flags, keywords and dates", import_maildir},
	{"import", "postfix", "DIRECTORY",
		"Prints the roost.conf for Postfix's main.cf and master.cf, and what is not carried over",
		import_postfix, .without_conf = 1},
	{"backup", NULL, "DIR {USER... | --all} [--incremental] | DIR --verify [NAME]",
		"Copies users' mail as it is at one moment; or checks a copy", backup_run},
	{"restore", NULL,
		"BACKUP USER [--mailbox NAME [--message UID|MESSAGE-ID]] [--into NAME] [--from ADDRESS]",
		"Puts a user's mail back, or adds what is missing of it", restore_run},
	{0},
};
