"""Zip archives without surprises: every size is checked before anything is read or unpacked.

Source: PKWARE's APPNOTE 6.3, sections 4.3 and 4.5.3. Only what .npz and .pth need: entries that are stored or
deflated, Zip64, one disk, no encryption.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from mmap import mmap

from zero1a_jax.converters.pickles.pickled import BadFile, Limits, short

MAX_ENTRIES = 20_000
MAX_DIRECTORY = 8 << 20  # bytes
_STORED, _DEFLATED = 0, 8
_FULL32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """Where a file lies in the archive."""

    name: str
    start: int  # of its packed bytes in the archive
    packed: int  # bytes in the archive
    size: int  # bytes when unpacked
    deflated: bool
    checksum: int  # CRC-32 of the unpacked bytes


def is_archive(data: bytes | mmap) -> bool:
    """Whether it begins as a zip archive does."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def entries(data: bytes | mmap) -> dict[str, Entry]:
    """The files of an archive by name. Raises BadFile where it is damaged or not of the plain kind."""
    at, size, count = _directory(data)
    if count > MAX_ENTRIES or size > MAX_DIRECTORY:
        raise BadFile(f"it says that it is an archive of {count} files, which is too many")
    if at + size > len(data):
        raise BadFile("it is a truncated archive")
    found: dict[str, Entry] = {}
    end = at + size
    while at < end:
        if end - at < 46 or data[at : at + 4] != b"PK\x01\x02":
            raise BadFile("the directory of its archive is damaged")
        entry, at = _entry(data, at, end)
        if entry.name in found:
            raise BadFile(f"its archive holds {short(entry.name)} twice")
        found[entry.name] = entry
    return found


def content(data: bytes | mmap, entry: Entry, limits: Limits) -> bytes:
    """The unpacked bytes of an entry. Raises BadFile where they are damaged or more than was announced."""
    limits.spend(entry.size + entry.packed)
    piece = data[entry.start : entry.start + entry.packed]
    if entry.deflated:
        unpacker = zlib.decompressobj(-15)
        try:
            piece = unpacker.decompress(piece, entry.size + 1)
        except zlib.error as error:
            raise BadFile(f"{short(entry.name)} in its archive is damaged") from error
    if len(piece) != entry.size or zlib.crc32(piece) != entry.checksum:
        raise BadFile(f"{short(entry.name)} in its archive is damaged")
    return piece


def _directory(data: bytes | mmap) -> tuple[int, int, int]:
    """Start, size in bytes, and number of files of the central directory."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0 or len(data) - end < 22:
        raise BadFile("it is a truncated archive")
    count, size, at = struct.unpack("<HII", data[end + 10 : end + 20])
    if end >= 20 and data[end - 20 : end - 16] == b"PK\x06\x07":
        (record,) = struct.unpack("<Q", data[end - 12 : end - 4])
        if record + 56 > end or data[record : record + 4] != b"PK\x06\x06":
            raise BadFile("the directory of its archive is damaged")
        count, size, at = struct.unpack("<QQQ", data[record + 32 : record + 56])
    return at, size, count


def _entry(data: bytes | mmap, at: int, end: int) -> tuple[Entry, int]:
    """The entry whose record of the directory is at `at`, and where the next record is."""
    flags, method = struct.unpack("<HH", data[at + 8 : at + 12])
    checksum, packed, size, names, extras, comment = struct.unpack("<IIIHHH", data[at + 16 : at + 34])
    (header,) = struct.unpack("<I", data[at + 42 : at + 46])
    following = at + 46 + names + extras + comment
    if following > end:
        raise BadFile("the directory of its archive is damaged")
    name = data[at + 46 : at + 46 + names].decode("utf-8", "replace")
    extra = data[at + 46 + names : at + 46 + names + extras]
    size, packed, header = _wide(extra, [size, packed, header])
    if flags & 1 or method not in (_STORED, _DEFLATED) or (method == _STORED and packed != size):
        raise BadFile(f"{short(name)} in its archive is encrypted or packed in an unusual way")
    local = data[header : header + 30]
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise BadFile(f"{short(name)} is missing from its archive")
    start = header + 30 + sum(struct.unpack("<HH", local[26:30]))
    if start + packed > len(data):
        raise BadFile(f"{short(name)} in its archive is truncated")
    return Entry(name, start, packed, size, method == _DEFLATED, checksum), following


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and place, with those that do not fit 32 bits taken from the Zip64 field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = [index for index, value in enumerate(values) if value == _FULL32]
            if len(field) < 8 * len(wide):
                raise BadFile("the directory of its archive is damaged")
            for place, index in enumerate(wide):
                (values[index],) = struct.unpack("<Q", field[8 * place : 8 * place + 8])
            return values
        at += 4 + length
    return values
