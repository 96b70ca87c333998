/* SPDX-License-Identifier: MIT */
#ifndef ROOST_FTS_ZIP_H
#define ROOST_FTS_ZIP_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * One file out of a ZIP archive in memory (APPNOTE.TXT of PKWARE), stored or deflated: what office
 * documents need. Any bytes are safe to give. Appended to *out, which has to have a bound.
 * E_NOTFOUND: no such file, or no archive; E_CORRUPT; E_UNSUPPORTED: encrypted, ZIP64 or another
 * method; E_TOOBIG: it is larger than out may be, which then has its beginning.
 */
enum err fts_zip_read(struct str archive, struct str name, struct buf *out);

/*
 * The text of such a file's XML: elements are left out, those that end a paragraph, a cell or a
 * line become a blank. Anything is taken for XML.
 */
void fts_xml_text(struct str xml, struct buf *out);

#endif
