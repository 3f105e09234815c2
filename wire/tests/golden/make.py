"""Writes the golden vectors beside this file, from DESIGN.md §3 and not from the Rust code.

    pip install xxhash zstandard && python3 wire/tests/golden/make.py
"""

import base64
import json
import pathlib
import random
from itertools import count

import xxhash
import zstandard

MAX_PAYLOAD_BYTES = 7_999
HERE = pathlib.Path(__file__).parent


def header(text, index, total, encoding):
    length = len(text.encode())
    return f"~1 {xxhash.xxh3_64_hexdigest(text.encode())} {index}/{total} {encoding} {length}\n"


def room(text, index=0, total=1):
    return MAX_PAYLOAD_BYTES - len(header(text, index, total, "json"))


def cut(body, bytes_, encoding):
    """Where a body of at most `bytes_` ends: before a character, or after a group of base64."""
    if len(body) <= bytes_:
        return len(body)
    if encoding == "zstd":
        return bytes_ // 4 * 4
    while body[bytes_] & 0xC0 == 0x80:
        bytes_ -= 1
    return bytes_


def frames(text, encoding, body):
    """The frames of the first count that agrees with the frames it leads to."""
    for total in count(1):
        payloads, rest = [], body
        while rest:
            first_line = header(text, len(payloads), total, encoding)
            end = cut(rest, MAX_PAYLOAD_BYTES - len(first_line), encoding)
            payloads.append(first_line + rest[:end].decode())
            rest = rest[end:]
        if len(payloads) == total:
            return payloads


def write(name, content):
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")


def vector(name, encoding, pieces, payloads):
    """`pieces`: the text as strings and how often each is repeated."""
    assert all(len(payload.encode()) <= MAX_PAYLOAD_BYTES for payload in payloads)
    write(name, {"encoding": encoding, "text": pieces, "payloads": payloads})


def join(pieces):
    return "".join(piece * times for piece, times in pieces)


def bare(name, pieces):
    vector(name, "bare", pieces, [join(pieces)])


def as_json(name, pieces, total):
    text = join(pieces)
    payloads = frames(text, "json", text.encode())
    assert len(payloads) == total
    vector(name, "json", pieces, payloads)
    return payloads


def as_zstd(name, pieces, total, **parameters):
    text = join(pieces)
    compressed = zstandard.ZstdCompressor(level=3, **parameters).compress(text.encode())
    payloads = frames(text, "zstd", base64.b64encode(compressed))
    assert len(payloads) == total
    vector(name, "zstd", pieces, payloads)


def string_of_bytes(length):
    """A JSON string whose slices all differ."""
    times, rest = divmod(length - 2, 7)
    return [['"', 1], ["0123456", times], ["-" * rest, 1], ['"', 1]]


def characters():
    """A text with a 2-, 3- or 4-byte character across each of six frame boundaries."""
    cuts = [("é", 1), ("€", 1), ("€", 2), ("😀", 1), ("😀", 2), ("😀", 3)]
    room_bytes = room("0" * 50_000, total=len(cuts) + 1)
    pieces, carried = [['"', 1]], 1
    for character, inside in cuts:
        pieces += [["a", room_bytes - inside - carried], [character, 1]]
        carried = len(character.encode())
    payloads = as_json("json-characters", pieces + [['"', 1]], len(cuts) + 1)
    for payload, (_, inside) in zip(payloads, cuts):
        assert len(payload.encode()) == MAX_PAYLOAD_BYTES - inside


def frame(first_line, content):
    compressed = zstandard.ZstdCompressor().compress(content)
    return first_line + base64.b64encode(compressed).decode()


def malformed():
    """Payloads of which the last leads to the error."""
    some = "~1 00000000000000ab"
    fields = "frame header is not `~1 ID INDEX/COUNT ENCODING LENGTH`"
    version = "payload begins with `~` but not with `~1 `: not version 1 of the wire format"
    number = "is not a decimal number in range without leading zeros"
    return [
        (["~"], version),
        (["~2 00000000000000ab 0/1 json 2\n{}"], version),
        (["~1 events"], "frame header does not end in a line feed"),
        ([f"{some} 0/1 json 2"], "frame header does not end in a line feed"),
        ([f"{some}  0/1 json 2\n{{}}"], fields),
        ([f"{some} 0/1 json 2 \n{{}}"], fields),
        (
            ["~1 00000000000000AB 0/1 json 2\n{}"],
            "frame id is not 16 lower-case hexadecimal digits",
        ),
        ([f"{some} +0/1 json 2\n{{}}"], f"frame index {number}"),
        ([f"{some} 0/01 json 2\n{{}}"], f"frame count {number}"),
        ([f"{some} 0/1 json 18446744073709551616\n{{}}"], f"frame length {number}"),
        ([f"{some} 1/1 json 2\n{{}}"], "frame index 1 is not below its count 1"),
        ([f"{some} 0/1 lz4 2\n{{}}"], "frame encoding is neither `json` nor `zstd`"),
        ([f"{some} 0/1 json 2\n"], "frame has no body"),
        (
            [f"{some} 0/3000 json 16777217\n["],
            "message of 16777217 bytes exceeds the limit of 16777216 bytes",
        ),
        ([f"{some} 0/1 json 8000\n["], "1 frames do not fit a message of 8000 bytes"),
        ([f"{some} 0/3 json 100\n["], "3 frames do not fit a message of 100 bytes"),
        (
            [f"{some} 0/2 json 8000\n[", f"{some} 1/2 json 8000\n]"],
            "bodies of 2 bytes up to frame 1 do not fit the 8000 bytes announced",
        ),
        ([f"{some} 0/1 zstd 2\n?"], "body of frame 0 is not base64"),
        (
            [f"{some} 0/1 zstd 3\nAAAA"],
            "zstd: not a frame of at most 3 bytes, as the header announced",
        ),
        (
            [frame(f"{some} 0/1 zstd 2\n", b"[1]")],
            "zstd: not a frame of at most 2 bytes, as the header announced",
        ),
        (
            [frame(f"{some} 0/1 zstd 4\n", b"[1]")],
            "text has 3 bytes, but the header announced 4",
        ),
        ([frame(f"{some} 0/1 zstd 3\n", b'"\xff"')], "text is not UTF-8 after byte 1"),
    ]


bare("bare", [['{"id": 42, "status": "paid", "price": 1.10, "note": "é€😀"}', 1]])
bare("bare-line-feeds", [["[\n  1,\r\n  2\n]\n", 1]])
bare("bare-7999", string_of_bytes(7_999))
as_json("json-8000", string_of_bytes(8_000), 2)
as_json("json-full", string_of_bytes(2 * room("0" * 15_000)), 2)
as_json("json-line-feeds", [["\n[\n", 1], ["\n 1.10,\r\n", 999], ["\n0]\n", 1]], 2)
# Ten frames would hold it, were their count of one digit.
as_json("json-eleven-frames", string_of_bytes(10 * room("0" * 79_000)), 11)
characters()
as_zstd("zstd", [["[", 1], ['{"name": "é€😀", "price": 1.10},\n', 999], ["null]", 1]], 1)
digits = random.Random(1).randbytes(16_000).hex()
as_zstd("zstd-frames", [['"', 1], [digits, 1], ['"', 1]], 3)
as_zstd("zstd-checksum", string_of_bytes(9_000), 1, write_checksum=True, write_content_size=False)
write("doorbell", {"encoding": "doorbell", "text": [], "payloads": ["~1 event"]})
write("malformed", [{"payloads": payloads, "error": error} for payloads, error in malformed()])
