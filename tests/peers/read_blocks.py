"""Prints the rows in a file of blocks so that every bit is seen: one JSON object a row.

{"seq": 7, "time": 1700000000000, "device_time": null, "slots": [["good", null, "f32:4365cccd"], ["bad", "timeout", null]]}, and
{"error": "Checksum"} in the place of a block that cannot be read. Cells are those of read_exports.py; all NaN of 32 bits are alike.
"""

import json
import struct
import sys
from typing import Any

import tidegate_block as tb


def cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return f"b:{str(value).lower()}"
    if isinstance(value, int):
        return f"i:{value}"
    if isinstance(value, tb.F32):
        return "f32:nan" if value != value else "f32:" + struct.pack(">f", value).hex()
    if isinstance(value, float):
        return "f64:" + struct.pack(">d", value).hex()
    if isinstance(value, bytes):
        return "x:" + value.hex()
    if isinstance(value, list):
        return "[" + " ".join(str(cell(item)) for item in value) + "]"
    return "t:" + value


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    schemas: dict[int, tb.Schema] = {}
    for _, part in tb.parts(content):
        try:
            if isinstance(part, tb.BlockError):
                raise part
            if isinstance(part, tb.Document):
                schema = tb.Schema.parse(part.document)
                schemas[schema.id] = schema
            elif isinstance(part, tb.Gap):
                print(json.dumps({"gap": [part.first_seq, part.last_seq, part.why]}))
            else:
                for row in tb.decode(part, schemas[part.schema]):
                    slots = [[slot.quality.value, slot.reason, cell(slot.value)] for slot in row.slots]
                    shown = {"seq": row.seq, "time": row.time, "device_time": row.device_time, "slots": slots}
                    print(json.dumps(shown))
        except tb.BlockError as error:
            print(json.dumps({"error": type(error).__name__}))


main()
