/* SPDX-License-Identifier: MIT */
#ifndef ROOST_MTA_SMTP_SASL_H
#define ROOST_MTA_SMTP_SASL_H

#include "lib/conf.h"
#include "mta-lite/smtp_client.h"

/* Logging in to another server (RFC 4954), with Cyrus SASL's client library. */

/* Loads the mechanisms: once, before the sandbox. E_IO: logged. */
enum err smtp_sasl_start(void);

/*
 * host: the server's name, for mechanisms that have it in their exchange. account: "USER:PASSWORD",
 * as Postfix writes it in smtp_sasl_password_maps. options: "noplaintext noanonymous
 * noactive nodictionary mutual_auth forward_secrecy". mechanisms: the only ones allowed, empty: all
 * that the server offers. Not OK: *why is set, and the connection is of no more use.
 */
enum err smtp_sasl_login(struct smtp_client *c, const char *host, const char *account,
	const struct conf_list *options, const struct conf_list *mechanisms,
	struct smtp_answer *why);

#endif
