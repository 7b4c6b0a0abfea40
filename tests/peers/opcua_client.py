"""An OPC UA client made of asyncua, steered by lines on standard input; `opcua_client.js` is the same made of node-opcua.

    opcua_client.py --url URL --folder FOLDER [--policy Basic256Sha256] [--mode SignAndEncrypt]
                    [--user NAME --password WORD]

Prints `ready` when it has a session, or `refused WHY` and ends. `FOLDER` keeps the client's certificate. Commands, each
answered with one line, `ok JSON` or `error WHY`; a PATH is `device/tag`, browse names without namespace under Objects:

    browse                    every variable and method under Objects but those of the server itself: path to node id
    read PATH                 value, status, whether it has both times, unit and range where it has them
    write PATH JSON           the status code
    subscribe PATH...         from then on notifications are counted (without PATH: every variable)
    count                     by path: how many notifications, the last value and its status
    deadband PATH NUMBER      from then on changes by more than that are counted, as PATH#deadband
    history PATH              the values of the last hour
    processed PATH NAME...    what these aggregates (Minimum, Average, ...) make of the last hour
    listen                    from then on the alarms of the server are kept
    alarms                    those so far: name, whether active, severity, message, source
    refresh                   asks to be told all alarms that stand
    frames                    the beginnings and ends of that so far: "start", "end"
    many COUNT SESSIONS URI   the items `nsu=URI;s=t0000` and so on in each of so many sessions, for benches
    total                     notifications since the last time this was asked, and how old p50 and p99 were in milliseconds

It ends when standard input ends.
"""

import argparse
import asyncio
import datetime
import json
import logging
import pathlib
import sys
import time

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

APPLICATION = "urn:tidegate:tests:asyncua-client"


FRAMES = {
    ua.NodeId(ua.ObjectIds.RefreshStartEventType): "start",
    ua.NodeId(ua.ObjectIds.RefreshEndEventType): "end",
}


class Counter:
    """What has been notified, by path; for benches only how much."""

    def __init__(self):
        self.paths = {}
        self.seen = {}
        self.total = 0
        self.ages = []
        self.alarms = []
        self.frames = []

    def event_notification(self, event):
        frame = FRAMES.get(event.EventType)
        if frame is not None:
            self.frames.append(frame)
            return
        self.alarms.append(
            {
                "name": event.ConditionName,
                "active": getattr(event, "ActiveState/Id"),
                "severity": event.Severity,
                "message": event.Message.Text,
                "source": event.SourceName,
            }
        )

    def datachange_notification(self, node, _value, data):
        self.total += 1
        value = data.monitored_item.Value
        path = self.paths.get(node.nodeid)
        if path is not None:
            count = self.seen.get(path, (0,))[0]
            self.seen[path] = (count + 1, plain(value), name_of(value.StatusCode))
        elif self.total % 100 == 0 and value.SourceTimestamp:
            self.ages.append(time.time() - value.SourceTimestamp.replace(tzinfo=datetime.timezone.utc).timestamp())


def name_of(status):
    """The name of a status code without its information bits (a queue that ran over)."""
    return ua.StatusCode(status.value & 0xFFFF0000).name


def plain(value):
    """A value as JSON has it."""
    inner = value.Value.Value if value.Value is not None else None
    if isinstance(inner, ua.LocalizedText):
        return inner.Text
    return inner if isinstance(inner, (bool, int, float, str, list, type(None))) else repr(inner)


class Station:
    def __init__(self, given):
        self.given = given
        self.client = None
        self.others = []
        self.subscriptions = []
        self.counter = Counter()
        self.nodes = {}

    async def session(self):
        # asyncua waits 4 s for every answer unless told otherwise, and takes a server for gone that does not answer within 1 s; a busy machine takes longer.
        client = Client(self.given.url, timeout=20, watchdog_intervall=60)
        client.application_uri = APPLICATION
        if self.given.user:
            client.set_user(self.given.user)
            client.set_password(self.given.password)
        if self.given.policy:
            folder = self.given.folder
            folder.mkdir(parents=True, exist_ok=True)
            key, file = folder / "client.pem", folder / "client.der"
            usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
            await setup_self_signed_certificate(key, file, APPLICATION, "localhost", usage, {"organizationName": "Tidegate tests"})
            policy = getattr(security_policies, f"SecurityPolicy{self.given.policy.replace('_', '')}")
            mode = ua.MessageSecurityMode[self.given.mode]
            await client.set_security(policy, certificate=file, private_key=key, mode=mode)
        await client.connect()
        return client

    async def walk(self, node, path):
        for reference in await node.get_references(
            refs=ua.ObjectIds.HierarchicalReferences, direction=ua.BrowseDirection.Forward, includesubtypes=True
        ):
            if reference.NodeId.NamespaceIndex == 0:
                continue
            name = f"{path}/{reference.BrowseName.Name}".lstrip("/")
            child = self.client.get_node(reference.NodeId)
            if reference.NodeClass in (ua.NodeClass.Variable, ua.NodeClass.Method):
                self.nodes[name] = child
            if reference.NodeClass == ua.NodeClass.Object:
                await self.walk(child, name)

    async def find(self, path):
        if not self.nodes:
            await self.walk(self.client.nodes.objects, "")
        return self.nodes[path]

    async def read(self, path):
        node = await self.find(path)
        wanted = ua.ReadValueId(NodeId=node.nodeid, AttributeId=ua.AttributeIds.Value)
        both = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=[wanted])
        value = (await self.client.uaclient.read(both))[0]
        answer = {"value": plain(value), "status": name_of(value.StatusCode), "times": bool(value.SourceTimestamp and value.ServerTimestamp)}
        for property in await node.get_properties():
            name = (await property.read_browse_name()).Name
            if name == "EURange":
                span = await property.read_value()
                answer["range"] = [span.Low, span.High]
            if name == "EngineeringUnits":
                answer["unit"] = (await property.read_value()).DisplayName.Text
        return answer

    async def write(self, path, value):
        node = await self.find(path)
        kind = await node.read_data_type_as_variant_type()
        try:
            await node.write_value(ua.DataValue(ua.Variant(value, kind)))
            return "Good"
        except ua.UaStatusCodeError as error:
            return ua.StatusCode(error.code).name

    async def subscribe(self, paths):
        await self.find(paths[0]) if paths else await self.find_all()
        nodes = [self.nodes[path] for path in paths or self.nodes]
        for path in paths or self.nodes:
            self.counter.paths[self.nodes[path].nodeid] = path
        subscription = await self.client.create_subscription(100, self.counter, queue_maxsize=100_000)
        self.subscriptions.append(subscription)
        handles = await subscription.subscribe_data_change(nodes)
        return sum(isinstance(handle, int) for handle in handles)

    async def deadband(self, path, number):
        node = await self.find(path)
        counter = Counter()
        counter.paths[node.nodeid] = f"{path}#deadband"
        counter.seen = self.counter.seen
        subscription = await self.client.create_subscription(100, counter)
        self.subscriptions.append(subscription)
        await subscription.deadband_monitor(node, number)
        return 1

    async def processed(self, path, names):
        node = await self.find(path)
        now = datetime.datetime.now(datetime.timezone.utc)
        details = ua.ReadProcessedDetails()
        details.StartTime, details.EndTime = now - datetime.timedelta(hours=1), now + datetime.timedelta(seconds=5)
        details.ProcessingInterval = 0
        details.AggregateType = [ua.NodeId(getattr(ua.ObjectIds, f"AggregateFunction_{name}")) for name in names]
        wanted = ua.HistoryReadValueId(NodeId=node.nodeid)
        question = ua.HistoryReadParameters(
            HistoryReadDetails=details,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=False,
            NodesToRead=[wanted] * len(names),
        )
        results = await self.client.uaclient.history_read(question)
        return [plain(result.HistoryData.DataValues[0]) for result in results]

    async def listen(self):
        subscription = await self.client.create_subscription(100, self.counter)
        self.subscriptions.append(subscription)
        kind = ua.NodeId(ua.ObjectIds.AlarmConditionType)
        # Its own filter compares node ids, which the library of our server cannot.
        await subscription.subscribe_events(self.client.nodes.server, kind, where_clause_generation=False)
        self.listening = subscription.subscription_id
        return 1

    async def refresh(self):
        conditions = self.client.get_node(ua.NodeId(ua.ObjectIds.ConditionType))
        method = ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh)
        await conditions.call_method(method, ua.Variant(self.listening, ua.VariantType.UInt32))
        return 1

    async def find_all(self):
        if not self.nodes:
            await self.walk(self.client.nodes.objects, "")

    async def history(self, path):
        node = await self.find(path)
        now = datetime.datetime.now(datetime.timezone.utc)
        values = await node.read_raw_history(now - datetime.timedelta(hours=1), now + datetime.timedelta(seconds=5))
        return [plain(value) for value in values]

    async def many(self, count, sessions, uri):
        made = 0
        for _ in range(sessions):
            client = await self.session()
            self.others.append(client)
            index = await client.get_namespace_index(uri)
            subscription = await client.create_subscription(1_000, self.counter, queue_maxsize=1_000_000)
            self.subscriptions.append(subscription)
            nodes = [client.get_node(ua.NodeId(f"t{item:04}", index)) for item in range(count)]
            for first in range(0, len(nodes), 1_000):
                handles = await subscription.subscribe_data_change(nodes[first : first + 1_000], sampling_interval=1_000)
                made += sum(isinstance(handle, int) for handle in handles)
        return made

    def total(self):
        counter = self.counter
        ages = sorted(counter.ages)
        answer = {"total": counter.total}
        if ages:
            answer |= {"p50": ages[len(ages) // 2] * 1_000, "p99": ages[len(ages) * 99 // 100] * 1_000}
        counter.total, counter.ages = 0, []
        return answer

    async def command(self, line):
        verb, _, rest = line.partition(" ")
        words = rest.split()
        if verb == "browse":
            await self.find_all()
            return {path: node.nodeid.to_string() for path, node in self.nodes.items()}
        if verb == "read":
            return await self.read(rest)
        if verb == "write":
            path, _, value = rest.partition(" ")
            return await self.write(path, json.loads(value))
        if verb == "subscribe":
            return await self.subscribe(words)
        if verb == "count":
            return self.counter.seen
        if verb == "history":
            return await self.history(rest)
        if verb == "deadband":
            return await self.deadband(words[0], float(words[1]))
        if verb == "processed":
            return await self.processed(words[0], words[1:])
        if verb == "listen":
            return await self.listen()
        if verb == "alarms":
            return self.counter.alarms
        if verb == "refresh":
            return await self.refresh()
        if verb == "frames":
            return self.counter.frames
        if verb == "many":
            return await self.many(int(words[0]), int(words[1]), words[2])
        if verb == "total":
            return self.total()
        raise ValueError(f"no command {verb}")


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--folder", type=pathlib.Path, required=True)
    arguments.add_argument("--policy")
    arguments.add_argument("--mode", default="SignAndEncrypt")
    arguments.add_argument("--user")
    arguments.add_argument("--password")
    station = Station(arguments.parse_args())
    try:
        station.client = await station.session()
    except Exception as error:
        print("refused", repr(error), flush=True)
        return
    print("ready", flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            print("ok", json.dumps(await station.command(line.decode().strip())), flush=True)
        except Exception as error:  # The test that gave the command hears of it.
            print("error", repr(error), flush=True)
    for client in [station.client, *station.others]:
        await client.disconnect()


logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
