"""A Modbus TCP device made of pymodbus, steered by lines on standard input.

    modbus_server.py [--port PORT] [--unit UNIT]... [--size REGISTERS]

Prints `ready PORT` when it listens (port 0 lets the system choose). Every unit has four tables of its own (coil, discrete,
holding, input), each with addresses 0 to size - 1, all 0. Then it takes commands and answers each with one line,
`ok ...` or `error ...`:

    set UNIT TABLE ADDRESS VALUE...    changes values, as the machine behind the registers would
    get UNIT TABLE ADDRESS COUNT       what the registers hold now
    put UNIT ADDRESS TYPE ORDER VALUE  a value into holding registers, encoded by pymodbus (FLOAT32 big 1.5)
    take UNIT ADDRESS TYPE ORDER COUNT a value out of so many holding registers, decoded by pymodbus
    hole UNIT ADDRESS COUNT            requests that touch these registers get "illegal data address"
    silent UNIT on|off                 whether the unit leaves requests unanswered
    requests                           UNIT:FUNCTION:ADDRESS:COUNT of each request since the last time this was asked

It ends when standard input ends, so that it cannot outlive the test that started it.
"""

import argparse
import asyncio
import collections
import functools
import sys

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

# The function code by which pymodbus finds each table.
TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
# Requests kept for `requests`; older ones are forgotten.
REMEMBERED = 10_000


class Plant:
    """The units, their faults, and what was asked of them."""

    def __init__(self, units, size):
        self.silent = set()
        self.holes = collections.defaultdict(list)
        self.requests = collections.deque(maxlen=REMEMBERED)
        self.from_within = False
        self.devices = [self.device(unit, size) for unit in units]
        self.server = None

    def device(self, unit, size):
        # Each table needs entries of its own: pymodbus keeps them.
        def bits():
            return [SimData(0, values=[False] * size, datatype=DataType.BITS)]

        def registers():
            return [SimData(0, values=[0] * size, datatype=DataType.REGISTERS)]

        tables = (bits(), bits(), registers(), registers())
        return SimDevice(unit, simdata=tables, action=functools.partial(self.access, unit))

    async def access(self, unit, function, _start, address, count, _registers, _values):
        """Called by pymodbus before every access; decides about faults."""
        if self.from_within:
            return None
        if unit in self.silent:
            raise NoSuchIdException("silent")
        for first, length in self.holes[unit]:
            if address < first + length and first < address + count:
                return ExcCodes.ILLEGAL_ADDRESS
        return None

    def trace(self, sending, pdu):
        if not sending:
            # A read-write request has two addresses; the written one is what tests ask about.
            address, count = (
                (pdu.write_address, pdu.write_count)
                if pdu.function_code == 23
                else (pdu.address, pdu.count)
            )
            self.requests.append(f"{pdu.dev_id}:{pdu.function_code}:{address}:{count}")
        return pdu

    async def command(self, words):
        verb, arguments = words[0], words[1:]
        if verb == "requests":
            seen = list(self.requests)
            self.requests.clear()
            return seen
        unit = int(arguments[0])
        if verb == "silent":
            (self.silent.add if arguments[1] == "on" else self.silent.discard)(unit)
            return []
        if verb == "hole":
            self.holes[unit].append((int(arguments[1]), int(arguments[2])))
            return []
        self.from_within = True
        try:
            if verb in ("put", "take"):
                return await self.encoded(verb, unit, int(arguments[1]), *arguments[2:])
            table, address, rest = arguments[1], int(arguments[2]), [int(word) for word in arguments[3:]]
            if verb == "get":
                values = await self.server.async_getValues(unit, TABLES[table], address, rest[0])
                return [int(value) for value in values]
            if verb == "set":
                values = [value != 0 for value in rest] if table in ("coil", "discrete") else rest
                await self.server.async_setValues(unit, TABLES[table], address, values)
                return []
        finally:
            self.from_within = False
        raise ValueError(f"no command {verb}")

    async def encoded(self, verb, unit, address, kind, order, value):
        """`put` and `take`: what the bytes of a value are is not for our own code to say here."""
        datatype = ModbusClientMixin.DATATYPE[kind]
        if verb == "take":
            registers = await self.server.async_getValues(unit, TABLES["holding"], address, int(value))
            return [ModbusClientMixin.convert_from_registers(registers, datatype, word_order=order)]
        python = {"F": float, "S": str}.get(kind[0], int)(value)
        registers = ModbusClientMixin.convert_to_registers(python, datatype, word_order=order)
        await self.server.async_setValues(unit, TABLES["holding"], address, registers)
        return []


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--unit", type=int, action="append")
    arguments.add_argument("--size", type=int, default=2000)
    given = arguments.parse_args()

    plant = Plant(given.unit or [1], given.size)
    plant.server = ModbusTcpServer(
        plant.devices,
        address=("127.0.0.1", given.port),
        ignore_missing_devices=True,
        trace_pdu=plant.trace,
    )
    await plant.server.serve_forever(background=True)
    print("ready", plant.server.transport.sockets[0].getsockname()[1], flush=True)

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            print("ok", *await plant.command(line.decode().split()), flush=True)
        except Exception as error:  # The test that gave the command hears of it.
            print("error", repr(error), flush=True)
    await plant.server.shutdown()


asyncio.run(main())
