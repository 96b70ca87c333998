/* SPDX-License-Identifier: MIT */
#include "import/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/hex.h"
#include "lib/io.h"
#include "lib/mem.h"

enum { PIECE = 256 * 1024 };

static const char head[] = "roost-backup-user 1";

void
manifest_free(struct manifest *m)
{
	if (m->text)
		munmap(m->text, m->len);
	free(m->folders);
	free(m->messages);
	*m = (struct manifest){0};
}

static enum err
map_file(const char *path, struct manifest *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	enum err e = OK;

	if (fd < 0)
		return err_from_errno(errno);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(head)) {
		e = E_CORRUPT;
	} else {
		out->len = (size_t)st.st_size;
		out->text = mmap(NULL, out->len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (out->text == MAP_FAILED) {
			out->text = NULL;
			e = err_from_errno(errno);
		}
	}
	io_close(&fd);
	return e;
}

/* A name that stays where it is looked for. */
static int
is_plain(struct str name)
{
	return name.len && !str_has_control(name) && str_find(name, 0, '/') == name.len &&
	       !str_is(name, ".") && !str_is(name, "..");
}

static enum err
folder_line(struct manifest *m, struct str line)
{
	struct manifest_folder *f = &m->folders[m->folder_count];

	*f = (struct manifest_folder){0};
	if (str_to_u32(str_split(&line, ' '), &f->uidvalidity) ||
		str_to_u32(str_split(&line, ' '), &f->uidnext))
		return E_CORRUPT;
	if (!str_is(line, ".")) {
		if (!is_plain(line) || line.p[0] != '.' || line.len > NAME_MAX)
			return E_CORRUPT;
		f->dir = line;
	}
	m->folder_count++;
	return OK;
}

static enum err
message_line(struct manifest *m, struct str line, struct manifest_message *out)
{
	struct manifest_folder *f = m->folder_count ? &m->folders[m->folder_count - 1] : NULL;

	if (!f || str_to_u32(str_split(&line, ' '), &out->uid) ||
		str_to_u64(str_split(&line, ' '), &out->size))
		return E_CORRUPT;
	out->hash = str_split(&line, ' ');
	out->name = line;
	if (out->hash.len != BACKUP_HASH_TEXT - 1 || !is_plain(line) || line.len > NAME_MAX ||
		(f->count && f->messages[f->count - 1].uid >= out->uid))
		return E_CORRUPT;
	if (!f->count)
		f->messages = out;
	f->count++;
	return OK;
}

enum err
manifest_load(const char *path, struct manifest *out)
{
	struct str rest, line;
	size_t lines = 1, messages = 0;
	enum err e;

	*out = (struct manifest){0};
	e = map_file(path, out);
	if (e)
		return e;
	rest = str_make(out->text, out->len);
	if (rest.p[rest.len - 1] != '\n' || !str_is(str_split(&rest, '\n'), head)) {
		manifest_free(out);
		return E_CORRUPT;
	}
	for (size_t i = 0; i < rest.len; i++)
		lines += rest.p[i] == '\n';
	/* Pointers into these stay good: there is room for all lines as either. */
	out->messages = mem_alloc(lines * sizeof(*out->messages));
	out->folders = mem_alloc(lines * sizeof(*out->folders));
	while (e == OK && rest.len) {
		struct str kind;

		line = str_split(&rest, '\n');
		kind = str_split(&line, ' ');
		if (str_is(kind, "F"))
			e = folder_line(out, line);
		else if (str_is(kind, "M"))
			e = message_line(out, line, &out->messages[messages++]);
		else
			e = E_CORRUPT;
	}
	if (e)
		manifest_free(out);
	return e;
}

const struct manifest_folder *
manifest_folder_find(const struct manifest *m, struct str dir)
{
	for (size_t i = 0; i < m->folder_count; i++)
		if (str_equal(m->folders[i].dir, dir))
			return &m->folders[i];
	return NULL;
}

const struct manifest_message *
manifest_message_find(const struct manifest_folder *f, uint32_t uid)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->messages[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < f->count && f->messages[low].uid == uid ? &f->messages[low] : NULL;
}

enum err
backup_hash_copy(int from, int to, char hash[BACKUP_HASH_TEXT], uint64_t *size)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	char *bytes = mem_alloc(PIECE);
	enum err e = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) ? OK : E_IO;

	*size = 0;
	while (e == OK) {
		ssize_t n = read(from, bytes, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			e = n ? err_from_errno(errno) : OK;
			break;
		}
		*size += (uint64_t)n;
		EVP_DigestUpdate(md, bytes, (size_t)n);
		if (to >= 0)
			e = io_write_all(to, bytes, (size_t)n);
	}
	if (e == OK && !EVP_DigestFinal_ex(md, digest, NULL))
		e = E_IO;
	hex_write(digest, e ? 0 : (BACKUP_HASH_TEXT - 1) / 2, hash);
	EVP_MD_CTX_free(md);
	free(bytes);
	return e;
}
