/* SPDX-License-Identifier: MIT */
#ifndef ROOST_INDEX_SERVICE_H
#define ROOST_INDEX_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <jansson.h>

#include "index/index_core.h"
#include "lib/buf.h"
#include "lib/ctl.h"
#include "lib/ipc.h"
#include "lib/quota_rules.h"
#include "lib/numset.h"
#include "lib/service.h"

/*
 * roost-index around index_core: one listening thread, workers that each own some of the users (a
 * user's name says which), and for each worker one thread that does nothing but fsync.
 */

extern const struct service index_service;

enum {
	INDEX_USER_BUCKETS = 256,
	INDEX_BACKGROUND_DELAY_MS = 300, /* flags that change again meanwhile are renamed once */
	/* Between steps of background work: this many times as long as the last one took. */
	INDEX_BACKGROUND_PAUSE_FACTOR = 5,
	INDEX_BACKGROUND_PAUSE_MAX_MS = 500,
	INDEX_NOTES_MAX = 256, /* in one transaction */
	INDEX_NOTES_BYTES_MAX = 1 << 20,
	INDEX_NOTES_MS = 10,
	INDEX_REFRESH_AGAIN_MS = 2 * 1000,
	INDEX_IDLE_CLOSE_MS = 60 * 1000,
	INDEX_IDLE_AGAIN_MS = 2 * 1000, /* when there was still something to do */
	INDEX_DRAIN_RENAMES_MS = 2 * 1000, /* all users of a worker together, at the end */
	/*
	 * What inotify says is looked at at once; but from the end of a look to the next one it is
	 * this many times what it took, within bounds.
	 */
	INDEX_NEWS_FACTOR = 5,
	INDEX_NEWS_DELAY_MS = 5,
	INDEX_NEWS_DELAY_MAX_MS = 1000,
	INDEX_HALF_MADE_MS = 200, /* to the next look at a folder that another program is making */
	INDEX_SLOW_LOOK_MS =
		15 * 1000, /* at what a client waits for and inotify cannot be had for */
	INDEX_WATCH_BUCKETS = 1024,
	INDEX_NOTICES_MAX = 64 << 10, /* bytes that a client lets wait */
	INDEX_SYNC_FDS_MAX = 256,
	/* Parsing in the background: messages and bytes in one batch. */
	INDEX_PARSE_MAX = 64,
	INDEX_PARSE_BYTES = 4 << 20,
	INDEX_PARSE_PAUSE_MS = 20,
	/* Batches that wait, of all users; whoever finds so many comes again after a while. */
	INDEX_PARSE_QUEUE_MAX = 64,
	INDEX_PARSE_AGAIN_MS = 200,
	/* So long after a request of the user's nothing is begun, and so often it waits for that.
	 */
	INDEX_PARSE_QUIET_MS = 10,
	INDEX_PARSE_WAITS_MAX = 20,
	INDEX_FTS_MS = 500, /* changes within so long are told of once */
	INDEX_OPENERS_MAX = 16, /* threads */
	/* Three of LMDB, the Maildir, and one that waits for a sync. */
	INDEX_USER_FDS = 5,
	INDEX_SPARE_FDS = 64,
};

/* ---- index_queue.c: work that one thread gives to another ---- */

struct index_work {
	struct index_work *next;
	void (*run)(void *owner, void *arg);
	void *arg;
};
struct index_queue {
	pthread_mutex_t mutex;
	struct index_work *first, **last;
	int fd; /* eventfd */
	struct event *event;
	void *owner;
};
/* The work runs in base's thread with owner as its first argument. */
void index_queue_init(struct index_queue *q, struct event_base *base, void *owner);
void index_queue_fini(struct index_queue *q);
/* Does what is there now, in the calling thread. 0: there was nothing. */
int index_queue_run(struct index_queue *q);
/* From any thread. */
void index_queue_add(struct index_queue *q, void (*run)(void *owner, void *arg), void *arg);

/* ---- a worker ---- */

struct index_conn;

enum index_watch_kind {
	INDEX_WATCH_FILES, /* the index directory */
	INDEX_WATCH_TREE, /* the Maildir */
	INDEX_WATCH_NEW,
	INDEX_WATCH_CUR, /* of a mailbox */
};
struct index_watched {
	struct index_watched *next; /* of the user */
	struct index_watched *in_table; /* of the worker */
	struct index_user_entry *user;
	int wd;
	enum index_watch_kind kind;
	uint32_t mailbox; /* 0: of none */
};

/* index_warning.c: what users are warned of, and how. */
struct index_warnings {
	struct quota_warning items[QUOTA_WARNINGS_MAX];
	size_t count;
	char *text; /* the template; "": the built-in one */
	char *host; /* for Message-IDs */
};
struct index_warnings *index_warnings_create(const struct config *conf, const char *host);
void index_warnings_free(struct index_warnings **w);

/* index_shared.c: who shares something, and with whom. */
struct index_owner {
	char *user, *home;
	uint64_t quota_bytes, quota_messages;
	char *quota_rules;
};

struct index_guest;

struct index_user_entry {
	struct index_user_entry *next;
	struct index_worker *worker;
	char *name, *maildir, *index_dir;
	struct index_core *core;
	struct index_conn *conns;
	struct event *background, *idle, *news, *slow, *fts;
	struct index_watched *watched;
	size_t watched_count, watches_max;
	/* Whether all mailboxes have their watches, as of the last time that was tried. */
	enum { WATCHES_UNKNOWN, WATCHES_COMPLETE, WATCHES_PARTLY } watches_all;
	unsigned news_delay_ms;
	int64_t news_ms; /* of the last look, its end */
	/* Where inotify saw something; news_lost: what is watched does not fit any more. */
	struct numset news_boxes;
	int news_tree, news_files, news_lost;
	uint64_t counted; /* messages, as the worker's sum has them */
	struct index_notes *notes; /* what readers found out, not in the index yet; or NULL */
	struct event *notes_event;
	int64_t refreshed_ms; /* when all of its mailboxes were last looked at */
	struct index_quota quota_seen; /* at the last look */
	struct index_warnings *warnings;
	struct quota_warning warning; /* to be said; percent 0: none */
	/* index_parse.c */
	struct event *parse;
	struct index_core_place parse_at;
	uint64_t parse_known; /* how many there were to parse at the last look */
	struct parse_job *parsing; /* the batch that is under way, or NULL; only compared */
	int parse_end; /* all were looked at */
	int parse_waits;
	int64_t request_ms; /* of the last request */
	/* Of those who have no connection, longest first. */
	int is_idle;
	struct index_user_entry *idle_prev, *idle_next;
	int corrupt; /* to be discarded as soon as nothing is under way */
	/* As the last ticket said, for those with whom the user shares something. */
	struct index_owner owner;
	struct index_guest *guests; /* who have a connection */
	struct event *guests_event;
	struct index_away *away; /* its core is in another thread's hands; or NULL */
};

/* index_notes.c: notes wait until there are many, or for INDEX_NOTES_MS. The blob is copied. */
struct index_core_note;
void index_note_add(struct index_user_entry *u, const struct index_core_note *note);
void index_notes_flush(struct index_user_entry *u);
void index_notes_free(struct index_user_entry *u);
/* The index is to be made anew as soon as nothing is under way. */
void index_user_corrupt(struct index_user_entry *u);

struct index_conn {
	struct index_conn *next; /* of its user */
	struct ipc_conn *ipc; /* NULL: the client went away */
	struct index_worker *worker;
	struct index_user_entry *user;
	struct index_guest *guest; /* NULL: the user himself */
	char *acl_groups; /* that his ticket names */
	struct numset watch;
	int watch_all;
	/* Notices that had no room (INDEX_NOTICES_MAX): sent when it has read the others. */
	struct numset missed;
	int missed_tree;
	unsigned held; /* answers that wait for the disk */
	unsigned refs;
};

/* An answer that waits. */
struct index_answer {
	struct index_answer *next;
	struct index_conn *conn;
	uint16_t type;
	uint32_t request;
	struct buf body;
};

struct index_sync {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int busy, stop;
	int *fds;
	size_t fd_count;
	int failed; /* errno */
	/* For the next round, of users who are away. */
	int *early_fds, early_failed;
	size_t early_count;
	/* Answers that wait for what is being synced, and for the next round. */
	struct index_answer *flying, *held, **held_last;
	struct event *launch;
};

struct index_worker {
	pthread_t thread;
	struct event_base *base;
	struct index_queue queue;
	struct index_service_state *service;
	struct index_sync sync;
	struct index_user_entry *users[INDEX_USER_BUCKETS];
	struct index_watched *watched[INDEX_WATCH_BUCKETS]; /* by wd */
	struct index_sleeper *sleepers[INDEX_USER_BUCKETS]; /* by user */
	struct index_sleep_wd *sleep_wds[INDEX_USER_BUCKETS];
	int draining;
	struct index_opening *openings;
	size_t away_count; /* users */
	size_t opening_count;
	struct index_user_entry *idle_first, *idle_last;
	atomic_ullong users_open, connections, requests, messages, pending;
	/* Messages parsed in the background, and by sessions that found no cache record. */
	atomic_ullong parsed, parsed_by_sessions;
};

/* Of the openers' threads; embedded in what run needs. */
struct index_opener_job {
	struct index_opener_job *next;
	void (*run)(struct index_opener_job *job);
};

struct parse_job;
struct index_parser {
	pthread_t *threads;
	size_t count;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct parse_job *first, **last;
	int stop;
	atomic_int stopping, queued;
};

struct index_openers {
	pthread_t threads[INDEX_OPENERS_MAX];
	size_t count, idle, queued;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct index_opener_job *first, **last;
	int stop;
};

struct index_wd;
struct index_inotify {
	pthread_mutex_t mutex; /* of all but event */
	int fd, warned;
	struct event *event; /* of the main thread */
	struct index_wd *wds[INDEX_WATCH_BUCKETS];
};

struct index_service_state {
	struct index_inotify inotify;
	struct index_parser parser;
	struct index_openers openers;
	struct service_run *run;
	struct index_worker *workers;
	size_t worker_count;
	struct index_queue queue; /* back to the main thread */
	char *ticket_key; /* of the settings, for all threads; it never changes */
	struct index_shared *shared;
	struct index_sleep_conn *sleep_conns; /* main thread */
	uint64_t sleep_conn_last;
	struct link *fts; /* main thread */
	size_t drained;
};

/* index_url.c: the message of a URL in the mail of who shares the mailbox. */
struct index_url_found {
	char *sharer; /* NULL: nothing */
	char object_id[INDEX_OBJECT_ID_TEXT]; /* of the mailbox */
	int fd; /* of the message, or -1 */
	int failed; /* for a reason of our own */
};

/* What a worker needs to open a user; made in the main thread, where the settings are. */
struct index_open {
	int fd;
	uint32_t request;
	struct buf readahead;
	char *user, *maildir, *index_dir, *host;
	char **default_mailboxes; /* ended by NULL */
	uint64_t map_size, max_message_size;
	char *rules; /* limits.rules */
	struct index_warnings *warnings;
	struct index_core_limits limits;
	size_t watches_max;
	int fsync;
	int64_t expunge_keep_s;
	struct index_owner owner;
	/* Whose guest the client is: his name, his own Maildir, where his index is; or NULL. */
	char *guest, *guest_maildir, *guest_dir;
	char *acl_groups; /* of the client, whoever he is */
	/* For INDEX_URL_OPEN: the URL, and who asks; or NULL. */
	char *url, *url_user;
	/*
	 * When the URL is of a mailbox that another shares with its owner, that one's mail is
	 * opened first, for what the mailbox is called there; then, by url_then, which has what was
	 * found, the owner's, who has the key.
	 */
	char *url_mailbox;
	struct index_open *url_then;
	struct index_url_found url_found;
};
void index_open_free(struct index_open *o);

/* ---- index_service.c ---- */

/* In the main thread: gives open to the worker of its user. For index_queue_add. */
void index_service_open(void *service, void *open);

/* ---- index_worker.c ---- */

enum err index_worker_start(struct index_worker *w, struct index_service_state *service);
/* In the worker's thread. */
void index_worker_open(void *worker, void *open);
/* The end of an opening: answers open and frees it. Takes core over, which is NULL with an error.
 */
void index_worker_opened(
	struct index_worker *w, struct index_open *open, enum err e, struct index_core *core);
/* Opens what open says; in any thread. Nobody watches until index_core_set_watcher. */
enum err index_open_core(const struct index_open *open, struct index_core **out);
/* Closes a user without connections, with all that is promised on disk; u is gone. */
void index_user_end(struct index_user_entry *u);
void index_worker_drain(void *worker, void *unused);
struct index_user_entry *index_worker_find(struct index_worker *w, const char *name);
/* After anything that may have left work for later. */
void index_user_touch(struct index_user_entry *u);
/* Works off what is pending and makes it safe on disk. */
enum err index_user_flush(struct index_user_entry *u);
/*
 * Whether the user's index or Maildir was removed or replaced: then the index is made anew, and the
 * clients are told, or disconnected when what they know does not hold any more. After an error the
 * user is closed and u gone.
 */
enum err index_user_look_for_files(struct index_user_entry *u);
void index_conn_release(struct index_conn *c);
/* Ends a connection from our side. */
void index_conn_end(struct index_conn *c);
unsigned index_user_hash(const char *name);

/* ---- index_opening.c: opening in threads of their own, and how many users stay open ---- */

/* Before the workers begin. E_*: there is not one thread. */
enum err index_openers_start(struct index_openers *p);
/* After the workers' end. */
void index_openers_stop(struct index_openers *p);
/* In the worker's thread. Takes o; index_worker_opened follows. The user is not open. */
void index_opening_begin(struct index_worker *w, struct index_open *o);
/* NULL: the user is not being opened. */
struct index_opening *index_opening_find(struct index_worker *w, const char *user);
/* Runs it when the user is open or could not be opened. */
void index_opening_wait(struct index_opening *op, void (*run)(void *worker, void *arg), void *arg);
/* Runs the job in one of the threads. */
void index_openers_add(struct index_openers *p, struct index_opener_job *job);
/* Before one more is opened: closes who had no connection for the longest time, when descriptors
 * run short. */
void index_users_make_room(struct index_worker *w);
/* The last connection is gone: it is closed after a while. */
void index_user_is_left(struct index_user_entry *u);
/* Whether the user has no connection, and may be closed. */
void index_user_set_idle(struct index_user_entry *u, int on);

/* ---- index_away.c: long looks, in the openers' threads ---- */

/*
 * Looks at the mailboxes (NULL: all, and which folders there are) in another thread, when that
 * would take long: 1, and the user is away until then. c (may be NULL) is answered behind it. 0:
 * nothing happened, it is for the caller to do.
 */
int index_away_look(struct index_user_entry *u, const struct numset *boxes, struct index_conn *c,
	uint32_t request);
/* Runs it when the user, who is away, is back. */
void index_away_wait(struct index_user_entry *u, void (*run)(void *worker, void *arg), void *arg);

/* ---- index_warning.c ---- */

/* Compares with what there was at the last look. */
void index_user_quota_look(struct index_user_entry *u, const struct index_quota *now);
/* Delivers the warning that is due. */
void index_user_warn(struct index_user_entry *u);

/* ---- index_parse.c: parsing in the background ---- */

/* Before the workers begin; index_parser_fini in any case. */
enum err index_parser_start(struct index_parser *p, size_t threads);
/* Before the workers end: what is under way goes back to them, nothing is begun any more. */
void index_parser_stop(struct index_parser *p);
/* After the workers' end. */
void index_parser_fini(struct index_parser *p);
/* Begins if there is anything to do. */
void index_user_parse(struct index_user_entry *u);
int index_user_is_parsing(const struct index_user_entry *u);
void index_user_parse_event(evutil_socket_t fd, short what, void *user);

/* ---- index_sync.c ---- */

enum err index_sync_start(struct index_worker *w);
void index_sync_stop(struct index_worker *w);
/*
 * Sends an answer: now, or, when changes of its user wait for the disk or an earlier answer of the
 * connection does, behind the next fsync. Takes body's bytes.
 */
void index_answer_send(struct index_conn *c, uint16_t type, uint32_t request, struct buf *body);
/* What the user's answers wait for is in the next round, without looking into its core again. */
void index_sync_take(struct index_worker *w, struct index_user_entry *u);
int index_sync_is_idle(const struct index_worker *w);

/* ---- index_request.c ---- */

/* E_PROTO: close the connection. */
enum err index_request_run(struct index_conn *c, struct ipc_msg *m);
void index_answer_error(struct index_conn *c, uint32_t request, enum err e, const char *text);

/* ---- index_shared.c: a dictionary of who shares something ----
 *
 * What is true stands in the folders' files of rights; the dictionary, a file of the service's own,
 * is there so that not all users have to be looked at. It is made anew when it is gone.
 */

/* other_domains: users may share with those of other domains too. */
struct index_shared *index_shared_open(const char *dir, const char *mail_dir, int other_domains);
void index_shared_close(struct index_shared **s);
/* Looks through the user's rights; in his worker's thread. */
void index_shared_learn(struct index_user_entry *u);
/* His mail is gone. */
void index_shared_forget(struct index_shared *s, const char *user);
/* The body of SHARED for the user as a guest of others. */
enum err index_shared_grants(const struct index_conn *c, struct buf *body);
/* Whether the user has URLs with an authorization; copies what is known of him. */
int index_shared_url_owner(struct index_shared *s, const char *user, struct index_owner *out);
/* Whether he shares anything with the guest, but as with one of a group; likewise. */
int index_shared_with(
	struct index_shared *s, const char *user, const char *guest, struct index_owner *out);
void index_owner_copy(struct index_owner *to, const struct index_owner *from);
void index_owner_free(struct index_owner *o);

/* ---- index_url.c: URLs with an authorization (RFC 4467) ---- */

/*
 * Whether who may use the URL by what it says, and whose it is; the token is still to be checked.
 * In the main thread. E_AUTH.
 */
enum err index_url_admit(const struct config *conf, struct index_shared *s,
	const struct index_owner *who, struct str text, struct index_owner *owner);
/*
 * In the main thread, of such a URL: who shares its mailbox with its owner, and what it is called
 * to him (on the heap). 0: nobody.
 */
int index_url_sharer(const struct config *conf, struct index_shared *s, const char *owner,
	struct str text, struct index_owner *sharer, char **mailbox);
/*
 * Looks for the message in the mail of u, who shares the mailbox (NULL: he could not be opened, for
 * the reason e), and gives what o was to answer to o->url_then. Frees o.
 */
void index_url_look(
	struct index_worker *w, struct index_open *o, enum err e, struct index_user_entry *u);
/* Answers what o asks for; c is of the URL's owner. */
void index_url_answer(struct index_conn *c, const struct index_open *o);

/* ---- index_guest.c: a user's guests ---- */

/* The connection is of a guest from now on, and his index in step. */
enum err index_guest_enter(struct index_conn *c, const struct index_open *o);
/* Before the connection leaves its user. */
void index_guest_leave(struct index_conn *c);
/* Something changed; mailbox 0: the tree. Guests hear of it from the loop. */
void index_guest_note(struct index_user_entry *u, uint32_t mailbox);
/*
 * What was noted is in the guest's index when this returns; others' watchers are told. E_CORRUPT,
 * others: the guest's connections are closed, c->user is NULL.
 */
enum err index_guest_settle(struct index_conn *c);
/*
 * The same for all guests of the user, before a change of rights is answered: a guest's session
 * asks its index what he may. A guest whose index fails loses his connections.
 */
void index_guest_settle_all(struct index_user_entry *u);
/* His index is to be made anew: his connections are closed. */
void index_guest_discard(struct index_conn *c);
void index_guest_event(evutil_socket_t fd, short what, void *user);
struct core_guest *index_guest_core(const struct index_guest *g);
/* tmp/ of his own INBOX, from where APPEND takes files. */
const char *index_guest_tmp(const struct index_guest *g);
const char *index_guest_dir(const struct index_guest *g);

/* ---- index_job.c: what roostctl has done with an open user ---- */

/* *result: what is answered; NULL: nothing. */
typedef enum err index_job_fn(struct index_user_entry *u, const json_t *args, json_t **result);
/* verb: of the table there. Answers req. args has "user"; w is that user's worker. */
void index_job_begin(struct index_service_state *s, struct index_worker *w, struct ctl_request *req,
	const char *verb, const json_t *args);

/* ---- index_watch.c ---- */

/* Watches what the user's clients want to hear of, and nothing else. */
void index_watch_sync(struct index_user_entry *u);
/* The same anew, when directories were replaced. */
void index_watch_again(struct index_user_entry *u);
void index_watch_end(struct index_user_entry *u);
void index_watch_notify(uint32_t mailbox, uint64_t modseq, void *user);
/* A notice to a client that watches the mailbox; 0: the tree, to one that watches all. */
void index_watch_tell(struct index_conn *c, uint32_t mailbox, uint64_t modseq);
/* For ipc_conn_on_drained. */
void index_watch_drained(struct ipc_conn *ipc, void *conn);
/* How long to wait behind a look that began then. */
void index_watch_looked(struct index_user_entry *u, int64_t begin_ms);
/* Lets the timer behind inotify run. */
void index_watch_soon(struct index_user_entry *u);
/* Timers. */
void index_watch_news(evutil_socket_t fd, short what, void *user);
void index_watch_slow_look(evutil_socket_t fd, short what, void *user);

/* ---- index_fts.c: roost-fts hears whose mail has changed ---- */

/* A timer, started with the first change. */
void index_fts_changed(struct index_user_entry *u);
void index_fts_tell(evutil_socket_t fd, short what, void *user);

/* ---- index_inotify.c ---- */

void index_inotify_init(struct index_inotify *in);
/* Behind the workers' end. */
void index_inotify_fini(struct index_inotify *in);
/*
 * Watches a directory: index_sleep_event and what index_inotify_add noted hear of it, in w's
 * thread. flags: IN_DONT_FOLLOW or 0. The number of the watch, which is another's too when that
 * has the same directory; -1: it cannot be had (said once in the log), or there is none.
 */
int index_inotify_hold(struct index_worker *w, const char *path, uint32_t flags);
void index_inotify_drop(struct index_worker *w, int wd);
/* 0: it cannot be had (said once in the log), or there is no such directory. */
int index_inotify_add(
	struct index_user_entry *u, enum index_watch_kind kind, uint32_t mailbox, const char *path);
/* Frees it. */
void index_inotify_remove(struct index_watched *x);
/* Has a mailbox looked at soon. */
void index_watch_look(struct index_user_entry *u, uint32_t mailbox);
/* Whether a file of this name in new/ is our own delivery, which has a UID already. */
int index_watch_is_ours(const char *name);

/* ---- index_sleep.c: mailboxes of sessions that sleep, also while nobody has the user open ---- */

void index_sleep_accept(struct service_run *run, int fd, const struct net_addr *peer);
void index_sleep_stop(struct index_service_state *s);
/*
 * For a client: seals a token, appended to *out. E_NOTFOUND. guest_modseq: of the mailbox as a
 * guest knows it, whose index is in step; 0: the client is the user's own.
 */
enum err index_sleep_seal(
	struct index_user_entry *u, uint32_t mailbox, uint64_t guest_modseq, struct buf *out);
struct inotify_event;
void index_sleep_event(struct index_worker *w, const struct inotify_event *ev);
/* In the worker's thread. */
void index_sleep_close(struct index_worker *w);
/* Something changed: mailbox 0: the tree, or everything (a rebuilt index). */
void index_sleep_notify(struct index_worker *w, const char *user, uint32_t mailbox);
/* The user was opened: what that found is news to who sleeps. */
void index_sleep_look(struct index_user_entry *u);

#endif
