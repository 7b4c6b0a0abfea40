"""Reads the blocks of Tidegate: many rows of one stream as columns, compressed and checksummed.

    import tidegate_block as tb

    schema = tb.Schema.parse(retained_payload)              # retained on <root>/<gateway>/schema/<id>
    for frame in tb.split(payload):                         # a message on <root>/<gateway>/block
        if isinstance(frame, tb.Block):
            for row in tb.decode(frame, schema):
                print(row.seq, row.time, row.slots)

Pure Python; blocks of codec 0 need the package `zstandard`.
"""

from .body import decode
from .errors import (
    BlockError,
    Checksum,
    Cut,
    Malformed,
    NewerVersion,
    NotABlock,
    UnknownCodec,
    UnknownSchema,
)
from .frame import Block, Document, Gap, parts, split
from .lines import gap_line, row_line
from .rows import F32, Quality, Row, Slot
from .schema import Column, Schema

__all__ = [
    "F32",
    "Block",
    "BlockError",
    "Checksum",
    "Column",
    "Cut",
    "Document",
    "Gap",
    "Malformed",
    "NewerVersion",
    "NotABlock",
    "Quality",
    "Row",
    "Schema",
    "Slot",
    "UnknownCodec",
    "UnknownSchema",
    "decode",
    "gap_line",
    "parts",
    "row_line",
    "split",
]
