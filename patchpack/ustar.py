"""The ustar header of a member, as every shard has it: mode 0644, time and owner 0, no names."""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""

_BEFORE = b"0000644\0" + b"0000000\0" * 2  # mode, owner and group
_TIME = b"%011o\0" % 0
_AFTER = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(247)  # a file; no link, no names
# the checksum counts its own eight bytes as spaces
_FIXED_SUM = sum(_BEFORE) + sum(_TIME) + sum(_AFTER) + 8 * ord(" ")


def ustar_header(name: bytes, size: int) -> bytes:
    """The 512 bytes before a member of `size` bytes; a name has at most 100."""
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (_FIXED_SUM + sum(name) + sum(digits))
    return b"".join([name.ljust(100, b"\0"), _BEFORE, digits, _TIME, checksum, _AFTER])
