/* SPDX-License-Identifier: MIT */
#include "mta-lite/lazy_library.h"

#include <dlfcn.h>
#include <string.h>

/* It stays loaded: a table that is opened again finds it, whatever the sandbox says by then. */
enum err
lazy_library_load(const char *library, const char *const *names, size_t count, void **functions,
	struct buf *why)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	size_t i;

	for (i = 0; handle && i < count; i++) {
		functions[i] = dlsym(handle, names[i]);
		if (functions[i] == NULL)
			break;
	}
	if (handle && i == count)
		return OK;
	if (why)
		buf_printf(why, "%s cannot be used: %s", library, dlerror());
	if (handle)
		dlclose(handle);
	memset(functions, 0, count * sizeof(*functions));
	return E_UNSUPPORTED;
}
