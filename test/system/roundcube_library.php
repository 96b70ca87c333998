<?php
// SPDX-License-Identifier: MIT
// Uses a mailbox through Roundcube's own library and prints what it saw as one JSON document.
//     php roundcube_library.php HOST PORT USER < password
// ROUNDCUBE_CONFIG_DIR names the configuration. Run again, it begins from the cache that it left.

define('INSTALL_PATH', '/var/lib/roundcube/');
$_SERVER['REQUEST_URI'] = '/'; // the debug log names it
require_once INSTALL_PATH . 'program/include/clisetup.php';

[, $host, $port, $user] = $argv;
$imap = rcmail::get_instance()->get_storage();
// The account must be known for its message cache to be kept.
$account = rcube_user::query($user, $host) ?: rcube_user::create($user, $host);
rcmail::get_instance()->set_user($account);
$said = [];

if (!$imap->connect($host, $user, trim(fgets(STDIN)), (int) $port, 'ssl')) {
    fwrite(STDERR, "log in: " . $imap->get_error_str() . "\n");
    exit(1);
}

function must($value, string $what)
{
    global $imap;
    if ($value === false || $value === null) {
        fwrite(STDERR, "$what: " . $imap->get_error_str() . "\n");
        exit(1);
    }
    return $value;
}

function rows(array $messages): array
{
    $rows = [];
    foreach ($messages as $message) {
        $flags = array_keys(array_filter($message->flags));
        sort($flags);
        $rows[] = ['uid' => (int) $message->uid, 'subject' => $message->get('subject'), 'flags' => $flags,
                   'size' => (int) $message->size, 'depth' => (int) ($message->depth ?? 0)];
    }
    return $rows;
}

// What a session sees when it opens: folders, the list, the quota.
$imap->set_pagesize(100);
$said['folders'] = $imap->list_folders();
$said['subscribed'] = $imap->list_folders_subscribed();
$said['special'] = $imap->get_special_folders(true);
$said['quota'] = must($imap->get_quota('INBOX'), 'quota');
$imap->set_folder('INBOX');
$imap->folder_sync('INBOX');
$said['count'] = $imap->count('INBOX', 'ALL', true);
$said['unseen'] = $imap->count('INBOX', 'UNSEEN', true);
$said['list'] = rows($imap->list_messages('INBOX', 1, 'date', 'ASC'));
if (getenv('ONLY_LOOK')) {
    echo json_encode($said);
    exit(0);
}

// Sorting, searching, threads.
$said['by_subject'] = array_column(rows($imap->list_messages('INBOX', 1, 'subject', 'DESC')), 'subject');
$found = must($imap->search('INBOX', 'HEADER SUBJECT "Grüße"', 'UTF-8', 'date'), 'search');
$said['found'] = array_column(rows($imap->list_messages('INBOX', 1, 'date', 'ASC')), 'subject');
$imap->set_search_set(null);
$said['found_body'] = array_map('intval', $imap->search_once('INBOX', 'BODY "needle"')->get());
$everywhere = must($imap->search(['INBOX', 'Sent'], 'HEADER SUBJECT "number"', 'UTF-8', 'date'), 'search of folders');
$said['found_everywhere'] = $imap->count('INBOX', 'ALL');
$imap->set_search_set(null);
$imap->set_threading('REFS');
$said['threads'] = array_map(fn ($row) => [$row['depth'], $row['subject']],
    rows($imap->list_messages('INBOX', 1, 'date', 'ASC')));
$imap->set_threading(false);

// Reading: structure, text, an attachment, the raw message.
$uid = $said['list'][0]['uid'];
$message = new rcube_message((string) $uid, 'INBOX');
$said['text'] = $message->first_text_part();
$said['attachments'] = array_values(array_map(fn ($part) => ['name' => $part->filename, 'size' => $part->size,
    'sha256' => hash('sha256', $message->get_part_body($part->mime_id))], $message->attachments));
$said['raw'] = hash('sha256', $imap->get_raw_body($uid));

// Flags, copy, move, expunge.
must($imap->set_flag([$uid], 'FLAGGED', 'INBOX') ?: null, 'flag');
must($imap->set_flag([$uid], 'SEEN', 'INBOX') ?: null, 'seen');
must($imap->set_flag([$said['list'][1]['uid']], '$Label1', 'INBOX') ?: null, 'label');
must($imap->create_folder('Projekte', true) ?: null, 'create');
$name = 'Projekte/' . rcube_charset::convert('Köln & mehr', RCUBE_CHARSET, 'UTF7-IMAP');
must($imap->create_folder($name, true) ?: null, 'create below');
must($imap->move_message([$said['list'][2]['uid']], $name, 'INBOX') ?: null, 'move');
must($imap->copy_message([$said['list'][3]['uid']], $name, 'INBOX') ?: null, 'copy');
must($imap->delete_message([$said['list'][4]['uid']], 'INBOX') ?: null, 'delete');
$said['moved'] = array_column(rows($imap->list_messages($name, 1, 'date', 'ASC')), 'subject');
must($imap->rename_folder('Projekte', 'Archiv 2026') ?: null, 'rename');
$said['renamed'] = $imap->list_folders('', '*');
$name = str_replace('Projekte', 'Archiv 2026', $name);
$said['moved_renamed'] = array_column(rows($imap->list_messages($name, 1, 'date', 'ASC')), 'subject');
must($imap->delete_folder($name) ?: null, 'delete folder');
$said['after_delete'] = $imap->list_folders('', '*');

// A draft, saved, and put in place of by a newer one.
$draft = "From: $user\r\nTo: someone@example.org\r\nSubject: draft\r\nMessage-ID: <d1@example.test>\r\n\r\nfirst\r\n";
$first = must($imap->save_message('Drafts', $draft, '', false, ['SEEN', 'DRAFT']) ?: null, 'draft');
$newer = str_replace('first', 'second', $draft);
$second = must($imap->save_message('Drafts', $newer, '', false, ['SEEN', 'DRAFT']) ?: null, 'newer draft');
must($imap->delete_message([$first], 'Drafts') ?: null, 'delete draft');
$said['drafts'] = rows($imap->list_messages('Drafts', 1, 'date', 'ASC'));
$imap->set_folder('Drafts');
$said['draft_text'] = $imap->get_message_part($second, '1');

// Annotations, and the list once more.
must($imap->set_metadata('INBOX', ['/private/comment' => 'Grüße']) ?: null, 'annotation');
$said['metadata'] = $imap->get_metadata('INBOX', ['/private/comment'], [], true);
$said['capabilities'] = array_values(array_filter(
    ['CONDSTORE', 'QRESYNC', 'ESEARCH', 'ESORT', 'UIDPLUS', 'MOVE', 'QUOTA', 'METADATA', 'LIST-STATUS', 'SPECIAL-USE',
     'ID', 'LITERAL+', 'NAMESPACE'], fn ($name) => $imap->get_capability($name)));
$imap->set_folder('INBOX');
$said['list_after'] = rows($imap->list_messages('INBOX', 1, 'date', 'ASC'));
$imap->close();
echo json_encode($said);
