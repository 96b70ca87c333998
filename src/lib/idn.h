/* SPDX-License-Identifier: MIT */
#ifndef ROOST_LIB_IDN_H
#define ROOST_LIB_IDN_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/str.h"

/*
 * The one name that a domain has in the DNS, in tables and in the directory: U-labels become
 * A-labels (RFC 5891), upper case of other letters lower case. ASCII stays as it is, and whether
 * it is a host name is not looked at.
 * domain: without a NUL. out: size bytes, NUL-terminated.
 * OK: *out is ASCII. E_PARSE: not UTF-8, or no such domain can be; E_TOOBIG: out is too small.
 * *out is set with OK only.
 */
enum err idn_to_ascii(struct str domain, char *out, size_t size);

#endif
