"""A block: the run of one source file's samples that is read, kept and done again as one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """A part of one source file; together the blocks of a file hold every sample of it."""

    path: str
    """The file relative to the source's root; for `folder` the folder that is listed."""
    start: int
    """Where it begins and ends: bytes (records, llava_json, internvl_jsonl), rows (parquet),
    members of the index (webdataset), places in the listing (folder).
    """
    end: int
    first_row: int
    """Rows of the file before this block."""
    rows: int
    sha256: str
    """Of the bytes that are parsed (text formats); "" where the file's size and version vouch."""
