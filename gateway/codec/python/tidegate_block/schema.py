"""The document that says whose rows a block holds and what its columns are."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .errors import BlockError
from .frame import crc32c

KINDS = ("bool", "int", "uint", "f32", "f64", "text", "bytes")


@dataclass(frozen=True)
class Column:
    """One tag."""

    name: str
    kind: str
    items: int | None = None
    """Number of items where the tag is an array."""
    unit: str | None = None


@dataclass(frozen=True)
class Schema:
    """Whose rows they are, and their columns in the order of the slots."""

    id: int
    """The CRC-32C of the document's bytes, by which blocks name it."""
    store: str
    device: str
    group: str
    columns: tuple[Column, ...]

    @classmethod
    def parse(cls, document: bytes) -> Schema:
        """Reads a document. It has to be the very bytes: its checksum is its name."""
        try:
            found = json.loads(document)
            columns = tuple(
                Column(column["name"], column["kind"], column.get("items"), column.get("unit"))
                for column in found["columns"]
            )
            schema = cls(crc32c(document), found["store"], found["device"], found["group"], columns)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BlockError(f"no schema: {error!r}") from error
        for column in columns:
            if column.kind not in KINDS:
                raise BlockError(f"no schema: {column.name} is of kind {column.kind!r}")
        return schema
