"""An OPC UA server made of asyncua, steered by lines on standard input; `opcua_server.js` is the same made of node-opcua.

    opcua_server.py --port PORT --folder FOLDER [--items N] [--padding N] [--every MS] [--no-anonymous] [--no-security]
                    [--nodes FILE] [--no-subscriptions] [--days N]

Prints `ready` when it listens on 127.0.0.1. Its namespace is `urn:tidegate:tests:plant`; `--padding` puts so many other
namespaces before it, so that its index is another one. `FOLDER` keeps the server's certificate from one start to the next.
The object `Plant` (`s=Plant`) has, each with its name as the identifier:

    T0 … T<N-1>   doubles; a tenth of them changes every MS milliseconds (200 unless set; 0: none)
    Setpoint      analog double, -50 to 150 °C, writable
    Switch, Count (Int32), Big (UInt64), Text, Small (Byte)   writable
    Label (LocalizedText), Time (DateTime), Raw (ByteString)
    Mode          enumeration Off, Auto, Manual; writable
    Position      structure of x, y (doubles) and name
    Axis          structure of position (such a structure) and speed; only this script has it
    Either        union of number (Double) and text, holding the text "tide"; only this script has it
    Rack          structure of the arrays levels (3 numbers), places (2 positions) and spare (none); only this script has it
    Long          1,500 doubles
    Hist          double with a history
    Add           method of two Int32 that gives their sum

`--no-subscriptions` lets nobody subscribe, `--days` is how long a certificate is valid that is made; only this script has them.
`--nodes` names a JSON file of more variables (`namespace`, `name`, `type`, `value`, `writable`); only this script has it.

The user `op` with the password `secret` may do everything. Commands, each answered with one line, `ok …` or `error …`:

    set NAME JSON                  changes a value, as the machine would
    get NAME                       the value as JSON
    status NAME CODE               the value keeps its number and gets this status code (`BadSensorFailure`)
    remove NAME                    the node is gone
    calls                          how often the method was called
    event SEVERITY TEXT            an event of the object Plant
    alarm on|off SEVERITY TEXT     a condition of the object Plant becomes active or inactive

It ends when standard input ends, so that it cannot outlive the test that started it.
"""

import argparse
import asyncio
import datetime
import json
import logging
import pathlib
import sys

from asyncua import Server, ua, uamethod
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

URI = "urn:tidegate:tests:plant"
APPLICATION = "urn:tidegate:tests:asyncua"


class Users(UserManager):
    def __init__(self, anonymous):
        self.anonymous = anonymous

    def get_user(self, _server, username=None, password=None, certificate=None):
        if username == "op" and password == "secret":
            return User(role=UserRole.Admin, name="op")
        # With a certificate of its own a user comes without a name.
        if username is None and (self.anonymous or certificate is not None):
            return User(role=UserRole.Admin)
        return None


class Plant:
    def __init__(self, server, given):
        self.server = server
        self.given = given
        self.nodes = {}
        self.items = []
        self.calls = 0
        self.moved = 0

    async def build(self):
        for number in range(self.given.padding):
            await self.server.register_namespace(f"urn:tidegate:tests:padding:{number}")
        self.index = index = await self.server.register_namespace(URI)
        self.plant = await self.server.nodes.objects.add_object(ua.NodeId("Plant", index), f"{index}:Plant")
        for number in range(self.given.items):
            self.items.append(await self.add(f"T{number}", 0.0))
        for name, value, kind in [
            ("Switch", False, ua.VariantType.Boolean),
            ("Count", 0, ua.VariantType.Int32),
            ("Big", 2**63, ua.VariantType.UInt64),
            ("Small", 7, ua.VariantType.Byte),
            ("Text", "tide", ua.VariantType.String),
        ]:
            await (await self.add(name, value, kind)).set_writable()
        await self.add("Label", ua.LocalizedText("Pumpe läuft", "de"), ua.VariantType.LocalizedText)
        await self.add("Time", datetime.datetime(2026, 5, 4, 3, 2, 1, 500_000, datetime.timezone.utc), ua.VariantType.DateTime)
        await self.add("Raw", b"\x00\xff\x10", ua.VariantType.ByteString)
        await self.add("Long", [float(number) for number in range(1_500)])
        self.hist = await self.add("Hist", 0.0)
        await self.typed()
        await self.setpoint()
        await self.events()
        method = await self.plant.add_method(
            ua.NodeId("Add", index), f"{index}:Add", self.sum, [ua.VariantType.Int32, ua.VariantType.Int32], [ua.VariantType.Int32]
        )
        self.nodes["Add"] = method

    async def more(self, file):
        """Variables of namespaces of their own."""
        for given in json.loads(file.read_text()):
            index = await self.server.register_namespace(given["namespace"])
            identifier, kind = ua.NodeId(given["name"], index), getattr(ua.VariantType, given["type"])
            name = f"{index}:{given['name']}"
            node = await self.server.nodes.objects.add_variable(identifier, name, given["value"], kind)
            if given["writable"]:
                await node.set_writable()
            self.nodes[given["name"]] = node

    async def add(self, name, value, kind=None):
        node = await self.plant.add_variable(ua.NodeId(name, self.index), f"{self.index}:{name}", value, kind)
        self.nodes[name] = node
        return node

    async def typed(self):
        """Data types of our own: an enumeration and a structure."""
        await new_enum(self.server, self.index, "PlantMode", ["Off", "Auto", "Manual"])
        fields = [
            new_struct_field("x", ua.VariantType.Double),
            new_struct_field("y", ua.VariantType.Double),
            new_struct_field("name", ua.VariantType.String),
        ]
        position, _ = await new_struct(self.server, self.index, "PlantPosition", fields)
        fields = [new_struct_field("position", position), new_struct_field("speed", ua.VariantType.Float)]
        await new_struct(self.server, self.index, "PlantAxis", fields)
        fields = [new_struct_field("number", ua.VariantType.Double), new_struct_field("text", ua.VariantType.String)]
        await new_struct(self.server, self.index, "PlantEither", fields, is_union=True)
        fields = [
            new_struct_field("levels", ua.VariantType.Double, array=True),
            new_struct_field("places", position, array=True),
            new_struct_field("spare", ua.VariantType.Double, array=True),
        ]
        await new_struct(self.server, self.index, "PlantRack", fields)
        types = await self.server.load_data_type_definitions()
        mode = await self.plant.add_variable(
            ua.NodeId("Mode", self.index), f"{self.index}:Mode", types["PlantMode"].Auto, datatype=types["PlantMode"].data_type
        )
        await mode.set_writable()
        self.nodes["Mode"] = mode
        self.position = types["PlantPosition"]
        await self.add("Position", self.position(1.5, -2.5, "dock"))
        self.axis = types["PlantAxis"]
        await self.add("Axis", self.axis(self.position(7.5, 0.0, "hall"), 0.5))
        either = types["PlantEither"]()
        either.text = "tide"
        await self.add("Either", either)
        places = [self.position(1.5, 2.5, "left"), self.position(3.5, 4.5, "right")]
        await self.add("Rack", types["PlantRack"](levels=[0.5, 1.5, 2.5], places=places, spare=[]))

    async def setpoint(self):
        """An AnalogItemType: a value with range, unit and description."""
        node = await self.add("Setpoint", 20.0)
        await node.set_writable()
        await node.write_attribute(
            ua.AttributeIds.Description, ua.DataValue(ua.Variant(ua.LocalizedText("Temperature wanted"), ua.VariantType.LocalizedText))
        )
        await node.delete_reference(ua.ObjectIds.BaseDataVariableType, ua.ObjectIds.HasTypeDefinition)
        await node.add_reference(ua.NodeId(ua.ObjectIds.AnalogItemType), ua.ObjectIds.HasTypeDefinition)
        await node.add_property(ua.NodeId("Setpoint.EURange", self.index), "0:EURange", ua.Range(-50.0, 150.0))
        unit = ua.EUInformation("http://www.opcfoundation.org/UA/units/un/cefact", 4408652, ua.LocalizedText("°C"), ua.LocalizedText("degree Celsius"))
        await node.add_property(ua.NodeId("Setpoint.EngineeringUnits", self.index), "0:EngineeringUnits", unit)

    async def events(self):
        self.event = await self.server.get_event_generator(ua.ObjectIds.BaseEventType, self.plant)
        self.alarm = await self.server.get_event_generator(ua.ObjectIds.AlarmConditionType, self.plant)

    @uamethod
    def sum(self, _parent, first, second):
        self.calls += 1
        return ua.Variant(first + second, ua.VariantType.Int32)

    async def move(self):
        """A tenth of the items changes; all of them in ten steps."""
        self.moved += 1
        for number in range(self.moved % 10, len(self.items), 10):
            await self.items[number].write_value(self.moved + number / 10_000)
        await self.hist.write_value(float(self.moved))

    async def command(self, line):
        verb, _, rest = line.partition(" ")
        name, _, more = rest.partition(" ")
        if verb == "calls":
            return self.calls
        if verb == "get":
            return json.dumps(await self.nodes[name].read_value(), default=repr)
        if verb == "set":
            value = json.loads(more)
            if name == "Position":
                value = self.position(**value)
            elif name == "Axis":
                value = self.axis(self.position(**value), 0.5)
            kind = (await self.nodes[name].read_data_value()).Value.VariantType
            await self.nodes[name].write_value(ua.Variant(value, kind))
        elif verb == "status":
            old = await self.nodes[name].read_data_value()
            code = ua.StatusCode(getattr(ua.StatusCodes, more))
            now = datetime.datetime.now(datetime.timezone.utc)
            await self.nodes[name].write_value(ua.DataValue(old.Value, code, SourceTimestamp=now))
        elif verb == "remove":
            node = self.nodes.pop(name)
            self.items = [item for item in self.items if item != node]
            await self.server.delete_nodes([node])
        elif verb == "event":
            self.event.event.Severity = int(name)
            await self.event.trigger(message=more)
        elif verb == "alarm":
            await self.trigger(name == "on", *more.split(" ", 1))
        else:
            raise ValueError(f"no command {verb}")
        return ""

    async def trigger(self, on, severity, text):
        event = self.alarm.event
        event.Severity = int(severity)
        event.ConditionName = "Level"
        event.SourceName = "Plant"
        event.NodeId = ua.NodeId("Level", self.index)
        event.Retain = on
        event.ActiveState = ua.LocalizedText("Active" if on else "Inactive")
        setattr(event, "ActiveState/Id", on)
        setattr(event, "AckedState/Id", not on)
        await self.alarm.trigger(message=text)


async def certificate(server, folder, days):
    folder.mkdir(parents=True, exist_ok=True)
    key, file = folder / "asyncua.pem", folder / "asyncua.der"
    if not file.exists():
        subject, use = {"organizationName": "Tidegate tests"}, [ExtendedKeyUsageOID.SERVER_AUTH]
        names = [x509.UniformResourceIdentifier(APPLICATION), x509.DNSName("localhost")]
        private = generate_private_key()
        signed = generate_self_signed_app_certificate(private, "asyncua", subject, names, extended=use, days=days)
        key.write_bytes(dump_private_key_as_pem(private))
        file.write_bytes(signed.public_bytes(Encoding.DER))
    await server.load_certificate(file)
    await server.load_private_key(key)


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--folder", type=pathlib.Path, required=True)
    arguments.add_argument("--items", type=int, default=0)
    arguments.add_argument("--padding", type=int, default=0)
    arguments.add_argument("--every", type=int, default=200)
    arguments.add_argument("--nodes", type=pathlib.Path)
    arguments.add_argument("--days", type=int, default=365)
    arguments.add_argument("--no-subscriptions", action="store_true")
    arguments.add_argument("--no-anonymous", action="store_true")
    arguments.add_argument("--no-security", action="store_true")
    given = arguments.parse_args()

    server = Server(user_manager=Users(not given.no_anonymous))
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{given.port}/plant")
    await server.set_application_uri(APPLICATION)
    policies = [ua.SecurityPolicyType.NoSecurity]
    if not given.no_security:
        names = ["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
        modes = ["Sign", "SignAndEncrypt"]
        policies += [getattr(ua.SecurityPolicyType, f"{name}_{mode}") for name in names for mode in modes]
        await certificate(server, given.folder, given.days)
    server.set_security_policy(policies)
    plant = Plant(server, given)
    await plant.build()
    if given.nodes:
        await plant.more(given.nodes)
    async with server:
        await server.historize_node_data_change(plant.hist, period=None, count=10_000)
        if given.no_subscriptions:
            # But for its own, by which it keeps the history.
            server.iserver.max_subscriptions = len(server.iserver.subscription_service.subscriptions)
        print("ready", flush=True)
        mover = asyncio.create_task(moving(plant, given.every)) if given.every else None
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            try:
                print("ok", await plant.command(line.decode().strip()), flush=True)
            except Exception as error:  # The test that gave the command hears of it.
                print("error", repr(error), flush=True)
        if mover:
            mover.cancel()


async def moving(plant, every):
    while True:
        await asyncio.sleep(every / 1_000)
        await plant.move()


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
