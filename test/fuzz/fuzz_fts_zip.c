/* SPDX-License-Identifier: MIT */
#include "index/fts/fts_zip.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reader of ZIP archives, and of the XML in them. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_make((const char *)data, size);
	struct buf out = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20);

	(void)fts_zip_read(bytes, STR("content.xml"), &out);
	fts_xml_text(buf_str(&out), &text);
	fts_xml_text(bytes, &text);
	buf_free(&out);
	buf_free(&text);
	return 0;
}
