/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <openssl/x509_vfy.h>

#include "ctl/ctl_doctor.h"
#include "lib/mem.h"

enum { SOON_DAYS = 14, DATE_SIZE = 32 };

static void
date_text(const ASN1_TIME *t, char out[DATE_SIZE])
{
	struct tm tm = {0};

	if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(out, DATE_SIZE, "%Y-%m-%d", &tm) == 0)
		snprintf(out, DATE_SIZE, "?");
}

static void
check_dates(struct doctor *d, const char *path, const X509 *cert)
{
	const ASN1_TIME *from = X509_get0_notBefore(cert), *to = X509_get0_notAfter(cert);
	int days = 0, seconds = 0;
	char date[DATE_SIZE];

	date_text(to, date);
	if (X509_cmp_current_time(from) > 0) {
		date_text(from, date);
		doctor_say(d, DOCTOR_ERROR, "certificate", "set the clock, or wait",
			"%s is valid from %s on only", path, date);
	} else if (X509_cmp_current_time(to) < 0) {
		doctor_say(d, DOCTOR_ERROR, "certificate", "renew it, then roostctl reload",
			"%s expired on %s", path, date);
	} else if (ASN1_TIME_diff(&days, &seconds, NULL, to) == 1 && days < SOON_DAYS) {
		doctor_say(d, DOCTOR_WARNING, "certificate",
			"renew it, then roostctl reload; see why nothing has renewed it yet",
			"%s expires on %s, in %d days", path, date, days);
	} else {
		doctor_say(d, DOCTOR_OK, "certificate", NULL, "%s is valid until %s", path, date);
	}
}

static void
check_name(struct doctor *d, const char *path, X509 *cert)
{
	const char *name = d->conf->hostname;

	if (!*name)
		return;
	if (X509_check_host(cert, name, 0, 0, NULL) == 1)
		doctor_say(d, DOCTOR_OK, "certificate", NULL, "it is for %s", name);
	else
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"get one that names the setting hostname: clients connect to that name",
			"%s is not for %s", path, name);
}

static void
check_key(struct doctor *d, const char *path, const X509 *cert)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, (void *)"") : NULL;
	struct stat st;

	if (!f)
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"run this as root, or mend the setting tls_key", "%s: %s", path,
			strerror(errno));
	else if (!key)
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"the setting tls_key wants an unencrypted key in PEM",
			"%s holds no private key", path);
	else if (X509_check_private_key(cert, key) != 1)
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"take the key that the certificate was made for",
			"%s is not the key of the certificate", path);
	else
		doctor_say(d, DOCTOR_OK, "certificate", NULL, "%s is its key", path);
	if (f && fstat(fileno(f), &st) == 0 && (st.st_mode & (S_IRWXO | S_IWGRP)))
		doctor_say(d, DOCTOR_ERROR, "certificate", "chmod 600 it",
			"%s can be read by every user of this machine", path);
	EVP_PKEY_free(key);
	if (f)
		fclose(f);
	ERR_clear_error();
}

static void
say_chain(struct doctor *d, int code)
{
	switch (code) {
	case X509_V_OK:
		doctor_say(d, DOCTOR_OK, "certificate", NULL,
			"its chain ends at an authority that this machine trusts");
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		doctor_say(d, DOCTOR_WARNING, "certificate",
			"get one of an authority, such as Let's Encrypt, and name it in tls_cert and "
			"tls_key",
			"it is self-signed: clients will ask their users or refuse");
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"put the intermediate certificates behind it: fullchain.pem and not cert.pem",
			"the chain has a gap between it and an authority that is trusted here");
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		break; /* said already, unless it is an intermediate's */
	default:
		doctor_say(d, DOCTOR_ERROR, "certificate", "get another one",
			"it does not verify: %s", X509_verify_cert_error_string(code));
		break;
	}
}

static void
check_chain(struct doctor *d, X509 *cert, STACK_OF(X509) * others)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (store && ctx && X509_STORE_set_default_paths(store) == 1 &&
		X509_STORE_CTX_init(ctx, store, cert, others) == 1) {
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		say_chain(
			d, X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx));
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
}

static void
check_file(struct doctor *d, const char *cert_path, const char *key_path)
{
	FILE *f = fopen(cert_path, "re");
	X509 *cert = f ? PEM_read_X509_AUX(f, NULL, NULL, NULL) : NULL, *other;
	STACK_OF(X509) *others = sk_X509_new_null();

	if (!f)
		doctor_say(d, DOCTOR_ERROR, "certificate",
			"run this as root, or mend the setting tls_cert", "%s: %s", cert_path,
			strerror(errno));
	else if (!cert)
		doctor_say(d, DOCTOR_ERROR, "certificate", "the setting tls_cert wants PEM",
			"%s holds no certificate", cert_path);
	while (cert && others && (other = PEM_read_X509(f, NULL, NULL, NULL)))
		sk_X509_push(others, other);
	ERR_clear_error();
	if (cert) {
		check_dates(d, cert_path, cert);
		check_name(d, cert_path, cert);
		check_key(d, key_path, cert);
		check_chain(d, cert, others);
	}
	sk_X509_pop_free(others, X509_free);
	X509_free(cert);
	if (f)
		fclose(f);
}

void
doctor_check_certificate(struct doctor *d)
{
	/* What the master makes when none is set. */
	char *cert = *d->conf->tls_cert ? mem_strdup(d->conf->tls_cert)
					: mem_printf("%s/tls/cert.pem", d->conf->state_dir);
	char *key = *d->conf->tls_key ? mem_strdup(d->conf->tls_key)
				      : mem_printf("%s/tls/key.pem", d->conf->state_dir);

	check_file(d, cert, key);
	free(cert);
	free(key);
}
