#!/usr/bin/env python3
"""Writes train/unicode_ranges.inc: the code points that GPT-2's pattern calls letters (\\p{L}),
numbers (\\p{N}) and white space (\\s), from Python's copy of the Unicode character database.

Usage: python3 tools/make_unicode_ranges.py >train/unicode_ranges.inc
"""
import sys
import unicodedata

# The property White_Space; unicodedata does not have it.
SPACES = [*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
          0x205F, 0x3000]


def class_of(point):
    if point in SPACES:
        return "S"
    category = unicodedata.category(chr(point))[0]
    return category if category in "LN" else None


def main():
    ranges = []  # [first, last, class]
    for point in range(0x80, sys.maxunicode + 1):
        kind = class_of(point)
        if kind and ranges and ranges[-1][1:] == [point - 1, kind]:
            ranges[-1][1] = point
        elif kind:
            ranges.append([point, point, kind])
    print(f"// Unicode {unicodedata.unidata_version}: {len(ranges)} ranges of letters (L), numbers (N)"
          " and white space (S) from\n// U+0080 on. Written by tools/make_unicode_ranges.py.")
    line = ""
    for first, last, kind in ranges:
        item = f"{{0x{first:X}, 0x{last:X}, {kind}}},"
        if len(line) + 1 + len(item) > 100:
            print(line)
            line = ""
        line += (" " if line else "") + item
    print(line)


if __name__ == "__main__":
    main()
