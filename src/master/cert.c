/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <errno.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "master/setup.h"
#include "proxy/tls.h"

enum { PEM_MAX = 1 << 20, SELF_SIGNED_DAYS = 3650, COMMON_NAME_MAX = 64 };

static int
add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* Letters, digits, dots, hyphens: what may stand in the extension's text without meaning more. */
static int
is_host_name(const char *s)
{
	for (const char *c = s; *c; c++)
		if (!str_is_alnum(*c) && *c != '.' && *c != '-')
			return 0;
	return s[0] != '\0';
}

static int
fill_cert(X509 *cert, EVP_PKEY *key, const char *hostname)
{
	unsigned char serial[16];
	char *san;
	X509_NAME *name = X509_get_subject_name(cert);
	const char *cn = strlen(hostname) <= COMMON_NAME_MAX ? hostname : "localhost";
	BIGNUM *number;
	int ok;

	io_random(serial, sizeof serial);
	serial[0] &= 0x7f;
	number = BN_bin2bn(serial, sizeof serial, NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	san = is_host_name(hostname) && strcmp(hostname, "localhost") != 0
		      ? mem_printf("DNS:%s,DNS:localhost,IP:127.0.0.1,IP:::1", hostname)
		      : mem_strdup("DNS:localhost,IP:127.0.0.1,IP:::1");
	ok = ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
	     /* A clock that is a little behind ours must not find it too new. */
	     X509_gmtime_adj(X509_getm_notBefore(cert), -3600L) != NULL &&
	     X509_time_adj_ex(X509_getm_notAfter(cert), SELF_SIGNED_DAYS, 0, NULL) != NULL &&
	     X509_set_pubkey(cert, key) == 1 &&
	     X509_NAME_add_entry_by_txt(
		     name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1 &&
	     X509_set_issuer_name(cert, name) == 1 &&
	     /* So that it can be given to clients as the authority it has to be for itself. */
	     add_extension(cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	     add_extension(cert, NID_subject_key_identifier, "hash") &&
	     add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
	     add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	     add_extension(cert, NID_subject_alt_name, san) &&
	     X509_sign(cert, key, EVP_sha256()) > 0;
	free(san);
	return ok;
}

static enum err
write_pem(BIO *bio, const char *path, mode_t mode)
{
	char *p;
	long len = BIO_get_mem_data(bio, &p);

	return len <= 0 ? E_IO : io_write_file_atomic(path, p, (size_t)len, mode);
}

static enum err
make_self_signed(const char *hostname, const char *cert_path, const char *key_path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	enum err e = E_IO;

	if (!key || !cert || !cert_bio || !key_bio || !fill_cert(cert, key, hostname) ||
		PEM_write_bio_X509(cert_bio, cert) != 1 ||
		PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
		log_event(LOGL_ERROR, "master.certificate failed", "reason",
			ERR_reason_error_string(ERR_peek_last_error()), NULL);
		goto out;
	}
	/* The key first: a certificate that is there has its key. */
	e = write_pem(key_bio, key_path, 0600);
	if (!e)
		e = write_pem(cert_bio, cert_path, 0644);
	if (!e)
		log_event(LOGL_INFO, "master.certificate made", "path", cert_path, "host", hostname,
			NULL);
out:
	BIO_free(cert_bio);
	BIO_free(key_bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	return e;
}

/* Unlike io_read_file it follows symbolic links: certificate tools keep the current one so. */
static enum err
read_pem(const char *path, char **out, struct buf *problems)
{
	char *real = realpath(path, NULL);
	struct buf text = BUF_INIT(PEM_MAX);
	enum err e = real ? io_read_file(real, &text) : err_from_errno(errno);

	if (e)
		buf_printf(
			problems, "%s: %s\n", path, e == E_TOOBIG ? "too large" : strerror(errno));
	else {
		free(*out);
		*out = buf_steal(&text);
	}
	buf_wipe(&text);
	buf_free(&text);
	free(real);
	return e;
}

enum err
cert_load(struct config *conf, int create, struct buf *problems)
{
	char *cert = conf->tls_cert[0] ? mem_strdup(conf->tls_cert)
				       : mem_printf("%s/tls/cert.pem", conf->state_dir);
	char *key = conf->tls_key[0] ? mem_strdup(conf->tls_key)
				     : mem_printf("%s/tls/key.pem", conf->state_dir);
	struct tls *tls = NULL;
	struct buf why = {0};
	enum err e = OK, e2;

	if (conf->tls_cert[0] && !conf->tls_key[0]) {
		/* One file may hold both. */
		free(key);
		key = mem_strdup(cert);
	}
	if (!conf->tls_cert[0] && access(cert, F_OK) != 0) {
		if (!create)
			goto out;
		e = make_self_signed(conf->hostname, cert, key);
		if (e) {
			buf_printf(problems, "%s: a self-signed certificate cannot be made: %s\n",
				cert, err_text(e));
			goto out;
		}
	}
	e = read_pem(cert, &conf->tls_cert_pem, problems);
	e2 = read_pem(key, &conf->tls_key_pem, problems);
	e = e ? e : e2;
	if (!e && conf->tls_client_ca[0])
		e = read_pem(conf->tls_client_ca, &conf->tls_client_ca_pem, problems);
	if (!e)
		e = tls_create(conf, &tls, &why);
	if (why.len > 0)
		buf_printf(problems, "%s, %s: %s\n", cert, key, buf_cstr(&why));
	tls_free(&tls);
out:
	buf_free(&why);
	free(cert);
	free(key);
	return e;
}
