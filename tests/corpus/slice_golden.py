"""Writes the worked example of docs/corpus.md from the grammar alone: another program than ours.

python3 tests/corpus/slice_golden.py prints the bytes that tests/corpus/format_test.cc expects, part by part.
"""

import hashlib
import hmac
import struct

SECRET = b"0123456789abcdef0123456789abcdef"
IDS, PROMPT, SPAN = [5, 8, 13], 1, (2, 3)
M64 = (1 << 64) - 1


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def siphash(key, data):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotl(x, b):
        return ((x << b) | (x >> (64 - b))) & M64

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & M64; v[1] = rotl(v[1], 13) ^ v[0]; v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & M64; v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & M64; v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & M64; v[1] = rotl(v[1], 17) ^ v[2]; v[2] = rotl(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def mac(key, data):
    return hmac.new(key, data, "sha256").digest()


def page(record):
    return record + struct.pack("<I", crc32c(record))


def main():
    seq_id = (0).to_bytes(5, "big")
    ids = b"".join(struct.pack("<H", i) for i in IDS)
    body = bytes([len(IDS), PROMPT, 1, SPAN[0], SPAN[1] - SPAN[0]]) + ids
    record = struct.pack("<I", crc32c(seq_id + body)) + body
    content = struct.pack("<5I", len(IDS), PROMPT, 1, *SPAN) + b"".join(struct.pack("<I", i) for i in IDS)
    subject = mac(mac(SECRET, b"lethe corpus subjects"), b"p-17")[:16]
    document = mac(mac(SECRET, b"lethe corpus documents"), b"mail-3")[:16]
    whole = siphash(mac(SECRET, b"lethe corpus grams")[:16], b"w" + b"".join(struct.pack("<I", i) for i in IDS))
    footer = struct.pack("<6I7Q", 1, 0, 0, 2, 6, 6, 1, 1, len(IDS), len(record), 1, 1, 1)
    footer += bytes(32) + hashlib.sha256(content).digest()
    parts = {
        "magic": b"LETHESL1",
        "record": record,
        "places": page(seq_id + (8).to_bytes(5, "big")),
        "subjects": page(subject + seq_id),
        "documents": page(document + seq_id),
        "grams": page(struct.pack(">Q", whole) + seq_id),
        "footer": page(footer),
    }
    for name, data in parts.items():
        print(f"{name:10}{data.hex()}")


if __name__ == "__main__":
    main()
