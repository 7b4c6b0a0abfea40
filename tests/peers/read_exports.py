"""Reads one history out of a CSV, a JSON Lines and a Parquet file, the last with pandas and with DuckDB, and prints what each reader found.

One JSON object per reader: {"reader": ..., "rows": [{column: cell}]}. A cell is null or text that shows every bit: "f32:4365cccd",
"f64:3fb999999999999a", "i:-1", "b:true", "t:auto", "x:00ff", "[i:1 i:2]".
"""

import base64
import csv
import json
import struct
import sys
from typing import Any, Callable, Iterable

import duckdb
import pandas
import pyarrow
import pyarrow.parquet

FIXED = {"time", "device_time", "seq"}


def f32(number: float) -> str:
    return "f32:%08x" % struct.unpack("<I", struct.pack("<f", number))


def f64(number: float) -> str:
    return "f64:%016x" % struct.unpack("<Q", struct.pack("<d", number))


def number(spelled: Any) -> float:
    return float(spelled)


def cell(kind: pyarrow.DataType, value: Any) -> str | None:
    """A value as a Parquet reader gives it."""
    if value is None:
        return None
    if pyarrow.types.is_float32(kind):
        return f32(value)
    if pyarrow.types.is_float64(kind):
        return f64(value)
    if pyarrow.types.is_boolean(kind):
        return "b:true" if value else "b:false"
    if pyarrow.types.is_integer(kind):
        return f"i:{value}"
    if pyarrow.types.is_binary(kind):
        return "x:" + bytes(value).hex()
    if pyarrow.types.is_list(kind):
        return "[" + " ".join(str(cell(kind.value_type, item)) for item in value) + "]"
    return "t:" + str(value)


def parsed(kind: pyarrow.DataType, value: Any) -> str | None:
    """A value as JSON has it."""
    if value is None:
        return None
    if pyarrow.types.is_floating(kind):
        return cell(kind, number(value))
    if pyarrow.types.is_binary(kind):
        return cell(kind, base64.b64decode(value, validate=True))
    if pyarrow.types.is_list(kind):
        return "[" + " ".join(str(parsed(kind.value_type, item)) for item in value) + "]"
    return cell(kind, value)


def spelled(kind: pyarrow.DataType, text: str, there: bool) -> str | None:
    """A cell of the CSV."""
    if not there:
        return None
    if pyarrow.types.is_boolean(kind):
        return cell(kind, {"true": True, "false": False}[text])
    if pyarrow.types.is_integer(kind):
        return cell(kind, int(text))
    if pyarrow.types.is_list(kind):
        return parsed(kind, json.loads(text))
    return parsed(kind, text)


def millis(text: str) -> str | None:
    return f"i:{pandas.Timestamp(text).value // 1_000_000}" if text else None


def tags(schema: pyarrow.Schema) -> Iterable[tuple[str, pyarrow.DataType]]:
    return [(f.name, f.type) for f in schema if f.name not in FIXED and not f.name.endswith(":quality")]


def of_pandas(path: str, schema: pyarrow.Schema) -> list[dict[str, Any]]:
    frame = pandas.read_parquet(path, dtype_backend="pyarrow")
    columns: dict[str, list[Any]] = {}
    for field in schema:
        values = pyarrow.array(frame[field.name].array)
        if pyarrow.types.is_timestamp(field.type):
            assert field.type == pyarrow.timestamp("ms", tz="UTC"), field
            values, kind = values.cast(pyarrow.int64()), pyarrow.int64()
        else:
            assert values.type == field.type, (values.type, field)
            kind = field.type
        columns[field.name] = [cell(kind, value) for value in values.to_pylist()]
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def of_duckdb(path: str, schema: pyarrow.Schema) -> list[dict[str, Any]]:
    asked = ", ".join(
        f'epoch_ms("{f.name}")' if pyarrow.types.is_timestamp(f.type) else f'"{f.name}"' for f in schema
    )
    found = duckdb.execute(f"SELECT {asked} FROM read_parquet(?)", [path]).fetchall()
    kinds = [pyarrow.int64() if pyarrow.types.is_timestamp(f.type) else f.type for f in schema]
    return [{f.name: cell(k, value) for f, k, value in zip(schema, kinds, row)} for row in found]


def of_csv(path: str, schema: pyarrow.Schema) -> list[dict[str, Any]]:
    rows = []
    with open(path, encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, strict=True):
            row: dict[str, Any] = {"time": millis(line["time"]), "device_time": millis(line["device_time"])}
            row["seq"] = "i:" + line["seq"]
            for name, kind in tags(schema):
                quality = line[name.removeprefix("tag:") + ":quality"]
                there = quality == "" or quality.startswith("uncertain:")
                row[name] = spelled(kind, line[name], there)
            for name in (name for name in line if name.endswith(":quality")):
                row[name] = "t:" + line[name] if line[name] else None
            assert list(row) != [] and set(row) == set(line), (set(row), set(line))
            rows.append(row)
    return rows


def of_json_lines(path: str, schema: pyarrow.Schema) -> list[dict[str, Any]]:
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            row: dict[str, Any] = {"time": f"i:{line['ts']}", "seq": f"i:{line['seq']}"}
            row["device_time"] = f"i:{line['device_ts']}" if "device_ts" in line else None
            for column, kind in tags(schema):
                name = column.removeprefix("tag:")
                row[column] = parsed(kind, line["values"].get(name))
                words = [f"t:{word}:{line[word][name]}" for word in ("uncertain", "bad") if name in line.get(word, {})]
                # A line does not tell what is unchanged from what the group did not have.
                missing = "t:unchanged" if name not in line["values"] else None
                row[name + ":quality"] = words[0] if words else missing
            rows.append(row)
    return rows


def main() -> None:
    base = sys.argv[1]
    schema = pyarrow.parquet.read_schema(base + ".parquet")
    readers: list[tuple[str, Callable[[str, pyarrow.Schema], list[dict[str, Any]]], str]] = [
        ("pandas", of_pandas, ".parquet"),
        ("duckdb", of_duckdb, ".parquet"),
        ("csv", of_csv, ".csv"),
        ("jsonl", of_json_lines, ".jsonl"),
    ]
    for name, read, extension in readers:
        print(json.dumps({"reader": name, "rows": read(base + extension, schema)}))
    # What others guess of the text files without being told.
    for reader, extension in [("read_csv_auto", ".csv"), ("read_json_auto", ".jsonl")]:
        count = duckdb.execute(f"SELECT count(*) FROM {reader}(?)", [base + extension]).fetchone()
        print(json.dumps({"reader": reader, "count": count[0] if count else None}))


main()
