# SPDX-License-Identifier: MIT
"""Queue files as roost-smtpd writes them (doc/queue.md), for tests and measurements that want many of them."""

import os
import struct
import zlib


def text(value):
    data = value.encode()
    return struct.pack("=I", len(data)) + data


def queue_file(queue_id, sender, recipients, content, arrival, attempts=1, next_try=0, reason="450 4.2.0 later"):
    """The bytes of a message that has been tried and is to be tried again."""
    header = text(queue_id) + struct.pack("=Q", arrival) + text(sender) + text("") + text("client")
    header += struct.pack("=BII", 0, 0, len(recipients))
    for recipient in recipients:
        header += text(recipient) + text("") + struct.pack("=BB", 0, 0)
        header += struct.pack("=BBIQ", 0, 0, attempts, next_try) + text("4.2.0") + text(reason) + text("mx")
    prefix = b"ROOSTQ1\n" + struct.pack("=IIQI", len(header), zlib.crc32(header), len(content), 0)
    return prefix + struct.pack("=I", zlib.crc32(prefix)) + header + content


def fill(directory, count, recipient, arrival, next_try, sender="alice@example.test", size=1000):
    """Puts count messages into a directory of the queue; recipient(n) is whom the n-th is for."""
    content = b"Subject: waits\r\n\r\n" + b"x" * 70 + b"\r\n"
    content += (b"y" * 70 + b"\r\n") * (size // 72)
    for n in range(count):
        queue_id = f"{0xA0000000 + n:X}"
        path = directory / queue_id
        path.write_bytes(queue_file(queue_id, sender, [recipient(n)], content, arrival, next_try=next_try))
        os.utime(path, (next_try, next_try))
