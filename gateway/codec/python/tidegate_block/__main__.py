"""Prints the rows in blocks as JSON Lines: `python -m tidegate_block FILE --schema schemas/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .body import decode
from .errors import BlockError
from .frame import Block, Document, Gap, parts
from .lines import gap_line, row_line
from .schema import Schema


def main() -> int:
    """The exit code: 1 when something could not be read. The rest is printed."""
    arguments = argparse.ArgumentParser(prog="tidegate_block", description=__doc__)
    arguments.add_argument("files", nargs="+", metavar="FILE", help="blocks one after the other; - is standard input")
    arguments.add_argument("--schema", action="append", default=[], metavar="FILE|DIR", help="schema documents")
    options = arguments.parse_args()
    schemas = {schema.id: schema for place in options.schema for schema in _schemas(Path(place))}
    failures = 0
    for file in options.files:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        for offset, part in parts(content):
            try:
                _print(part, schemas)
            except BlockError as error:
                failures += 1
                print(f"error: {file}, byte {offset}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1 if failures else 0


def _schemas(place: Path) -> list[Schema]:
    """The schemas in a file, one document or one a line, or in the files of a folder."""
    if place.is_dir():
        return [schema for file in sorted(place.iterdir()) if file.is_file() for schema in _schemas(file)]
    # A line end behind a document is not part of it.
    content = place.read_bytes().strip()
    found = []
    for document in [content, *content.splitlines()]:
        try:
            found.append(Schema.parse(document.strip()))
        except BlockError:
            pass
    return found


def _print(part: Block | Gap | Document | BlockError, schemas: dict[int, Schema]) -> None:
    if isinstance(part, BlockError):
        raise part
    if isinstance(part, Document):
        schema = Schema.parse(part.document)
        schemas[schema.id] = schema
        return
    schema = schemas.get(part.schema)
    if schema is None:
        raise BlockError(f"a block of schema {part.schema:08x}, which is not known; name its file with --schema")
    if isinstance(part, Gap):
        print(gap_line(schema, part))
        return
    for row in decode(part, schema):
        print(row_line(schema, row))


if __name__ == "__main__":
    sys.exit(main())
