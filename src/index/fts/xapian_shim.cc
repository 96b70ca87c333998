/* SPDX-License-Identifier: MIT */
#include "index/fts/xapian_shim.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include <sys/stat.h>
#include <xapian.h>

/*
 * No list of terms is kept for each document (DB_NO_TERMLIST): it would be twice the size of all the
 * rest, and is of use only to delete a document. What has gone is left out when the whole database
 * is made anew.
 */
struct fts_db {
	Xapian::Database reader;
	Xapian::WritableDatabase writer;
	bool writable = false;

	Xapian::Database &any() { return writable ? writer : reader; }
};

enum { VALUE_SLOT = 0 };

static std::string
text_of(struct str s)
{
	return s.len ? std::string(s.p, s.len) : std::string();
}

static struct str
str_of_text(const std::string &s)
{
	return str{s.data(), s.size()};
}

static enum err
err_of(const Xapian::Error &e)
{
	static const struct {
		const char *type;
		enum err e;
	} types[] = {
		{"DatabaseModifiedError", E_CONFLICT},
		{"DatabaseLockError", E_CONFLICT},
		{"DatabaseNotFoundError", E_NOTFOUND},
		{"DatabaseCorruptError", E_CORRUPT},
		{"DatabaseVersionError", E_CORRUPT},
		{"FeatureUnavailableError", E_CORRUPT},
	};
	const char *why = e.get_error_string();

	for (const auto &t : types)
		if (strcmp(e.get_type(), t.type) == 0)
			return t.e;
	if (why && (strcmp(why, strerror(ENOSPC)) == 0 || strcmp(why, strerror(EDQUOT)) == 0))
		return E_NOSPACE;
	/* Not a database at all, of a file system that does work. */
	if (strncmp(e.get_type(), "Database", 8) == 0 && !why)
		return E_CORRUPT;
	return E_IO;
}

/* Every call of Xapian goes through here: nothing may be thrown into C. */
template <typename Work>
static enum err
guarded(Work work)
{
	try {
		work();
		return OK;
	} catch (const Xapian::Error &e) {
		return err_of(e);
	} catch (const std::bad_alloc &) {
		return E_NOSPACE;
	} catch (...) {
		return E_IO;
	}
}

extern "C" enum err
fts_db_open(const char *dir, int writable, struct fts_db **out)
{
	struct fts_db *db = new (std::nothrow) fts_db;
	struct stat st;
	enum err e;

	*out = NULL;
	if (!db)
		return E_NOSPACE;
	if (!writable && stat(dir, &st) != 0) {
		delete db;
		return errno == ENOENT ? E_NOTFOUND : E_IO;
	}
	db->writable = writable != 0;
	e = guarded([&] {
		if (writable)
			db->writer = Xapian::WritableDatabase(dir,
				Xapian::DB_CREATE_OR_OPEN | Xapian::DB_BACKEND_GLASS |
					Xapian::DB_NO_TERMLIST);
		else
			db->reader = Xapian::Database(dir, Xapian::DB_BACKEND_GLASS);
	});
	if (e)
		delete db;
	else
		*out = db;
	return e;
}

extern "C" void
fts_db_close(struct fts_db **db)
{
	if (!*db)
		return;
	/* What was not committed is not wanted: closing would commit it. */
	(void)guarded([&] {
		if ((*db)->writable) {
			try {
				(*db)->writer.begin_transaction(false);
				(*db)->writer.cancel_transaction();
			} catch (const Xapian::Error &) {
			}
			(*db)->writer.close();
		}
	});
	(void)guarded([&] { delete *db; });
	*db = NULL;
}

extern "C" enum err
fts_db_reopen(struct fts_db *db)
{
	return guarded([&] { db->reader.reopen(); });
}

extern "C" uint32_t
fts_db_last(struct fts_db *db)
{
	uint32_t last = 0;

	(void)guarded([&] { last = db->any().get_lastdocid(); });
	return last;
}

extern "C" enum err
fts_db_add(struct fts_db *db, const struct str *terms, size_t count, struct str value, uint32_t *id)
{
	return guarded([&] {
		Xapian::Document doc;

		for (size_t i = 0; i < count; i++)
			doc.add_boolean_term(text_of(terms[i]));
		doc.add_value(VALUE_SLOT, text_of(value));
		*id = db->writer.add_document(doc);
	});
}

extern "C" enum err
fts_db_set_text(struct fts_db *db, struct str name, struct str text)
{
	return guarded([&] { db->writer.set_metadata(text_of(name), text_of(text)); });
}

extern "C" enum err
fts_db_commit(struct fts_db *db)
{
	return guarded([&] { db->writer.commit(); });
}

extern "C" enum err
fts_db_text(struct fts_db *db, struct str name, struct buf *out)
{
	return guarded([&] {
		std::string text = db->any().get_metadata(text_of(name));

		(void)buf_add_str(out, str_of_text(text));
	});
}

extern "C" enum err
fts_db_postings(struct fts_db *db, struct str term, int (*each)(uint32_t id, void *ctx), void *ctx)
{
	return guarded([&] {
		std::string name = text_of(term);
		Xapian::Database &from = db->any();

		for (auto p = from.postlist_begin(name); p != from.postlist_end(name); ++p)
			if (!each(*p, ctx))
				return;
	});
}

extern "C" enum err
fts_db_values(struct fts_db *db, uint32_t first,
	int (*each)(uint32_t id, struct str value, void *ctx), void *ctx)
{
	return guarded([&] {
		Xapian::Database &from = db->any();
		auto v = from.valuestream_begin(VALUE_SLOT);

		if (v != from.valuestream_end(VALUE_SLOT))
			v.skip_to(first);
		for (; v != from.valuestream_end(VALUE_SLOT); ++v) {
			std::string value = *v;

			if (!each(v.get_docid(), str_of_text(value), ctx))
				return;
		}
	});
}

extern "C" enum err
fts_db_compact(const char *from, const char *to)
{
	return guarded([&] {
		Xapian::Database db(from, Xapian::DB_BACKEND_GLASS);

		db.compact(std::string(to));
	});
}

struct fts_stem {
	Xapian::Stem stem;
};

extern "C" enum err
fts_stem_create(const char *language, struct fts_stem **out)
{
	enum err e = guarded([&] { *out = new fts_stem{Xapian::Stem(language)}; });

	if (e)
		*out = NULL;
	return e == E_IO ? E_NOTFOUND : e;
}

extern "C" void
fts_stem_free(struct fts_stem **stem)
{
	delete *stem;
	*stem = NULL;
}

extern "C" enum err
fts_stem_word(struct fts_stem *stem, struct str word, struct buf *out)
{
	return guarded([&] {
		std::string text = stem->stem(text_of(word));

		(void)buf_add_str(out, str_of_text(text));
	});
}
