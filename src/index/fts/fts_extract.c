/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "index/fts/fts_extract.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/fts/fts_zip.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "mail/decode.h"

enum {
	CPU_SECONDS = 15,
	MEMORY_BYTES = 512 << 20,
	FILES = 32,
	XML_MAX = 32 << 20,
};

static const char pdftotext[] = "/usr/bin/pdftotext";

static const char *const program_paths[] = {
	"/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/share/poppler", "/etc/ld.so.cache"};

static int
is_installed(void)
{
	return access(pdftotext, X_OK) == 0;
}

void
fts_extract_look(void)
{
	if (!is_installed())
		log_event(LOGL_INFO, "fts.extract off", "program", pdftotext, "for", "pdf", NULL);
}

static void
allow_program(struct sandbox *sb)
{
	sandbox_allow_path(sb, pdftotext, SANDBOX_READ | SANDBOX_EXEC);
	sandbox_allow_path(sb, "/dev/null", SANDBOX_READ | SANDBOX_WRITE);
	for (size_t i = 0; i < sizeof(program_paths) / sizeof(program_paths[0]); i++)
		sandbox_allow_path(sb, program_paths[i], SANDBOX_READ | SANDBOX_EXEC);
}

void
fts_extract_sandbox(struct sandbox *sb)
{
	if (!is_installed())
		return;
	sandbox_allow(sb, SANDBOX_CAN_FORK | SANDBOX_CAN_EXEC);
	allow_program(sb);
}

/* ---- a program ---- */

static void
limit(int what, rlim_t n)
{
	struct rlimit r = {n, n};

	(void)setrlimit(what, &r);
}

/* Reads the document at descriptor 0 and writes text to 1. */
static void __attribute__((noreturn)) program_main(int in, int out)
{
	static const char *const argv[] = {
		"pdftotext", "-q", "-enc", "UTF-8", "-nopgbrk", "-", "-", NULL};
	static const char *const env[] = {"PATH=/usr/bin", "LC_ALL=C", NULL};
	struct sandbox *sb = sandbox_create();
	int null = open("/dev/null", O_WRONLY);

	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || (null >= 0 && dup2(null, 2) < 0))
		_exit(127);
	if (null < 0)
		close(2);
	close_range(3, ~0u, 0);
	limit(RLIMIT_CPU, CPU_SECONDS);
	limit(RLIMIT_AS, MEMORY_BYTES);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FILES);
	sandbox_allow(sb, SANDBOX_CAN_EXEC);
	allow_program(sb);
	(void)sandbox_enter(sb);
	/* execve(2) changes neither. */
	execve(pdftotext, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	_exit(127);
}

/* Until the program closes its output, has said enough, or has had its time. */
static void
read_output(int fd, struct buf *out)
{
	int64_t deadline = io_now_ms() + FTS_EXTRACT_MS;
	char piece[32 << 10];

	while (!out->err) {
		int64_t left = deadline - io_now_ms();
		ssize_t n;

		if (left <= 0 || io_wait_readable(fd, (int)left))
			return;
		n = read(fd, piece, sizeof(piece));
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		if (n > 0)
			(void)buf_add(out, piece, (size_t)n);
	}
}

static void
run_program(struct str document, struct buf *out)
{
	int in = memfd_create("document", MFD_CLOEXEC), fds[2] = {-1, -1};
	pid_t pid = -1;

	if (in >= 0 && io_write_all(in, document.p, document.len) == OK &&
		lseek(in, 0, SEEK_SET) == 0 && pipe2(fds, O_CLOEXEC) == 0)
		pid = fork();
	if (pid == 0)
		program_main(in, fds[1]);
	io_close(&fds[1]);
	io_close(&in);
	if (pid > 0) {
		read_output(fds[0], out);
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	io_close(&fds[0]);
}

/* ---- what kind of document ---- */

static void
from_zip(struct str document, const char *name, struct buf *out)
{
	struct buf xml = BUF_INIT(XML_MAX);
	enum err e = fts_zip_read(document, str_of(name), &xml);

	if (!e || e == E_TOOBIG || e == E_CORRUPT)
		fts_xml_text(buf_str(&xml), out);
	buf_free(&xml);
}

static int
ends_with(const struct mime_part *part, const char *suffix)
{
	const struct mime_param *name = mime_param_find(&part->disposition_params, "filename");

	if (!name)
		name = mime_param_find(&part->params, "name");
	return name && str_ends_i(name->value, suffix);
}

enum kind { NOTHING, PDF, OPEN_DOCUMENT, WORD };

static enum kind
kind_of(const struct mime_part *part)
{
	if (str_is_i(part->subtype, "pdf") || ends_with(part, ".pdf"))
		return PDF;
	if (str_starts_i(part->subtype, "vnd.oasis.opendocument.") || ends_with(part, ".odt") ||
		ends_with(part, ".ods") || ends_with(part, ".odp"))
		return OPEN_DOCUMENT;
	if (str_is_i(
		    part->subtype, "vnd.openxmlformats-officedocument.wordprocessingml.document") ||
		ends_with(part, ".docx"))
		return WORD;
	return NOTHING;
}

void
fts_extract(const struct mime_part *part, struct str body, struct buf *out)
{
	enum kind kind = kind_of(part);
	struct buf document = BUF_INIT(FTS_ATTACHMENT_MAX);
	struct decoder decoder;

	if (kind == NOTHING || (kind == PDF && !is_installed()))
		return;
	if (part->encoding == MAIL_ENCODING_BASE64 || part->encoding == MAIL_ENCODING_QP) {
		decoder_init(&decoder, part->encoding);
		decoder_feed(&decoder, body.p, body.len, &document);
		decoder_finish(&decoder, &document);
	} else {
		(void)buf_add_str(&document, body);
	}
	/* Half a document is none. */
	if (document.err)
		log_event(LOGL_INFO, "fts.extract skipped", "size", log_u64(body.len), NULL);
	else if (kind == PDF)
		run_program(buf_str(&document), out);
	else
		from_zip(buf_str(&document), kind == WORD ? "word/document.xml" : "content.xml",
			out);
	buf_free(&document);
}
