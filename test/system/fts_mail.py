# SPDX-License-Identifier: MIT
"""Mail in many scripts and charsets, and strings to look for in it."""

import random
import unicodedata
from email.message import EmailMessage
from email.policy import SMTP

TEXTS = {
    "latin": ("The quick brown fox's e-mail (fox@example.org) costs 3.50 EUR; Straße, café, naïve, œuvre, "
              "ﬁnance, İstanbul, Łódź, coöperate, snake_case, C++, under-way, http://example.org/a?b=c&d=1",
              ["utf-8", "iso-8859-15", "utf-8"]),
    "cyrillic": ("Съешь же ещё этих мягких французских булок, да выпей чаю. Київ, ўсё, Ђорђе, њега",
                 ["utf-8", "koi8-r", "windows-1251"]),
    "greek": ("Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία. Ο ΟΔΥΣΣΕΥΣ είπε: Αθήνα, ΰ, ἄνθρωπος",
              ["utf-8", "iso-8859-7", "utf-8"]),
    "chinese": ("我们在北京大学学习计算机科学，今天天气很好。Linux入门教程：第3章", ["utf-8", "gb18030", "utf-8"]),
    "japanese": ("東京都に住んでいます。ガギグゲゴ、ｶﾞｷﾞｸﾞ、メールサーバーの設定はとても簡単です", ["utf-8", "iso-2022-jp", "shift_jis"]),
    "arabic": ("السلام عليكم ورحمة الله وبركاته، البريد الإلكتروني ٣٤٥", ["utf-8", "utf-8", "windows-1256"]),
    "thai": ("สวัสดีครับ ยินดีต้อนรับสู่ประเทศไทย", ["utf-8", "tis-620"]),
    "korean": ("안녕하세요 세계, 메일 서버를 설정합니다", ["utf-8", "euc-kr"]),
    "hebrew": ("שלום עולם, דואר אלקטרוני", ["utf-8", "iso-8859-8"]),
    "symbols": ("party 🎉🎊 ❤️ ☎ 100% ™ €42 ½ ²", ["utf-8"]),
}
LONG = "".join(random.Random(1).choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(400))


def sentence(rng):
    """(text, charset): words of one script, or of several."""
    names = rng.sample(list(TEXTS), rng.choice([1, 1, 1, 2, 3]))
    words, charset = [], "utf-8"
    for name in names:
        text, charsets = TEXTS[name]
        some = text.split(" ")
        words += rng.choices(some, k=rng.randrange(1, 12))
        charset = rng.choice(charsets) if len(names) == 1 else "utf-8"
    if rng.random() < 0.1:
        start = rng.randrange(300)
        words.append(LONG[start:start + rng.randrange(20, 100)])
    rng.shuffle(words)
    text = " ".join(words)
    try:
        text.encode(charset)
    except (UnicodeEncodeError, LookupError):
        charset = "utf-8"
    return text, charset


def message(rng, n):
    m = EmailMessage()
    subject, _ = sentence(rng)
    m["From"] = f"Sender {n % 7} <sender{n % 7}@example.org>"
    m["To"] = "alice@example.test"
    m["Subject"] = subject[:60]
    m["Message-ID"] = f"<{n}.{rng.getrandbits(48):x}@example.org>"
    m["X-Number"] = f"n{n}"
    body = "\n".join(sentence(rng)[0] for _ in range(rng.randrange(1, 4)))
    one, charset = sentence(rng)
    kind = rng.randrange(6)
    m.set_content(one if kind else body, charset=charset if kind else "utf-8",
                  cte=rng.choice(["base64", "quoted-printable", "8bit"]))
    if kind == 1:
        m.add_alternative(f"<html><head><title>not seen</title><style>.hidden{n} {{}}</style></head><body>"
                          f"<p class='c{n}'>be<b>fore</b> {body}</p><script>var s{n};</script></body></html>",
                          subtype="html", cte="quoted-printable")
    elif kind == 2:
        inner = EmailMessage()
        inner["Subject"] = sentence(rng)[0][:50]
        inner.set_content(body, cte="8bit")
        m.add_attachment(inner)
    elif kind == 3:
        m.add_attachment(b"\x00\x01binary" * 20, maintype="application", subtype="octet-stream",
                         filename=f"Datei-{sentence(rng)[0][:20]}.bin")
    raw = m.as_bytes(policy=SMTP.clone(utf8=rng.random() < 0.2, cte_type="8bit"))
    if kind == 4:  # a charset that the text is not in
        raw = raw.replace(b'charset="utf-8"', b'charset="us-ascii"').replace(b'charset="koi8-r"', b'charset="x-none"')
    return raw


def needle(rng):
    """A string that some messages have, or that none has."""
    text, _ = rng.choice(list(TEXTS.values()))
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(["nothing", "zzz", "北海道", "Ωmega", "x" * 70, "ж"])
    if kind == 1:
        start = rng.randrange(380)
        return LONG[start:start + rng.choice([3, 20, 30, 31, 32, 33, 45, 61, 90])]
    if kind == 2:
        return rng.choice(["sender", "ender3@", "Message", ": ", "example.org>", "n1", "class=", "<b>fore", "before",
                           "hidden", "not seen", "octet-stream", "Datei", "=?", "\N{REPLACEMENT CHARACTER}"])
    start = rng.randrange(len(text))
    return text[start:start + rng.choice([1, 1, 2, 2, 3, 4, 5, 8, 13, 21])]


def misspell(rng, word):
    """The word with a letter left out, put in, another, or two that changed places."""
    if len(word) < 2:
        return word
    n = rng.randrange(len(word) - 1)
    return rng.choice([word[:n] + word[n + 1:], word[:n] + "e" + word[n:], word[:n] + "x" + word[n + 1:],
                       word[:n] + word[n + 1] + word[n] + word[n + 2:]])


def words_needle(rng):
    """Words that some messages have, or nearly: cut, without accents, in another case, misspelled."""
    if rng.random() < 0.2:
        return needle(rng)
    text, _ = rng.choice(list(TEXTS.values()))
    words = [w for w in rng.choices(text.split(" "), k=rng.choice([1, 1, 1, 2, 2, 3])) if w]
    out = []
    for word in words:
        kind = rng.randrange(6)
        if kind == 0:
            word = word[:rng.randrange(1, len(word) + 1)]
        elif kind == 1:
            word = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
        elif kind == 2:
            word = word.upper()
        elif kind == 3:
            word = misspell(rng, misspell(rng, word) if rng.random() < 0.3 else word)
        out.append(word)
    return rng.choice([" ", " ", ", "]).join(out)
