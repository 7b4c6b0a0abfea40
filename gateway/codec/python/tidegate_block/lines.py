"""Rows as JSON Lines, as `tidegate block decode` prints them."""

from __future__ import annotations

import base64
import json

from .frame import Gap
from .rows import F32, Quality, Row, Value
from .schema import Schema


def row_line(schema: Schema, row: Row) -> str:
    """One row, without a line end.

    `{"device":"meter-1","group":"fast","ts":1700000000000,"seq":7,"values":{"voltage_l1":229.8},"bad":{"setpoint":"timeout"}}`
    """
    fields = [*_head(schema), f'"ts":{row.time}', f'"seq":{row.seq}']
    if row.device_time is not None:
        fields.append(f'"device_ts":{row.device_time}')
    named = [(json.dumps(column.name), slot) for column, slot in zip(schema.columns, row.slots)]
    values = [f"{name}:{_value(slot.value)}" for name, slot in named if slot.value is not None]
    fields.append('"values":{' + ",".join(values) + "}")
    for quality in (Quality.UNCERTAIN, Quality.BAD):
        reasons = [f'{name}:"{slot.reason}"' for name, slot in named if slot.quality is quality]
        if reasons:
            fields.append(f'"{quality.value}":{{' + ",".join(reasons) + "}")
    return "{" + ",".join(fields) + "}"


def gap_line(schema: Schema, gap: Gap) -> str:
    """Rows that will never come, as one line without its end."""
    record = {"from": gap.first_seq, "to": gap.last_seq, "reason": gap.why}
    return "{" + ",".join([*_head(schema), '"gap":' + json.dumps(record, separators=(",", ":"))]) + "}"


def _head(schema: Schema) -> list[str]:
    return [f'"device":{json.dumps(schema.device)}', f'"group":{json.dumps(schema.group)}']


def _value(value: Value) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_value(item) for item in value) + "]"
    if isinstance(value, bytes):
        return '"' + base64.b64encode(value).decode() + '"'
    if isinstance(value, float):
        if value != value:
            return '"NaN"'
        if value in (float("inf"), float("-inf")):
            return '"Infinity"' if value > 0 else '"-Infinity"'
        return repr(value) if isinstance(value, F32) else float.__repr__(value)
    return json.dumps(value, ensure_ascii=False)
