"""A Sparkplug edge node: pysparkplug makes and reads the payloads, Paho speaks MQTT.

The node and its devices are given as JSON: {"node": [METRIC …], "devices": {NAME: [METRIC …]}}, where a metric is
{"name", "type", "value", "unit", "writable"}; `"aliases": false` beside them leaves aliases out. Prints `ready` once everything is born, and
`command DEVICE NAME VALUE` for each command (`-` is the node). Takes commands on its standard input, and answers `ok` or `error …`:

`set DEVICE METRIC VALUE` (JSON) publishes a value, and `repeat DEVICE METRIC COUNT` a text of so many bytes;
`history DEVICE METRIC TIME VALUE` one of the past, `null DEVICE METRIC` none, `doubt DEVICE METRIC QUALITY` the value with a quality;
`die DEVICE`, `born DEVICE` are its death and birth; `deaf` and `hear` end and begin doing what commands say.
"""

import argparse
import json
import sys
import threading
import time

import paho.mqtt.client as mqtt
from pysparkplug import DataType, DBirth, DCmd, DData, DDeath, Metric, NBirth, NCmd, NData, NDeath
from pysparkplug._protobuf import Payload

REBIRTH = "Node Control/Rebirth"


def now():
    return int(time.time() * 1000)


def properties(metric, **values):
    """Adds properties, which pysparkplug has no class for, to a metric of its message."""
    for key, value in values.items():
        if value is None:
            continue
        metric.properties.keys.append(key)
        added = metric.properties.values.add()
        if isinstance(value, bool):
            added.type, added.boolean_value = DataType.BOOLEAN, value
        elif isinstance(value, int):
            added.type, added.int_value = DataType.INT32, value
        else:
            added.type, added.string_value = DataType.STRING, value


class Node:
    def __init__(self, arguments):
        self.group, self.node = arguments.group, arguments.node
        told = json.loads(arguments.metrics)
        self.metrics = {"-": told.get("node", []), **told.get("devices", {})}
        self.alias = {}
        for device, metrics in self.metrics.items():
            for metric in metrics:
                self.alias[device, metric["name"]] = len(self.alias) + 1 if told.get("aliases", True) else None
        self.there = set(told.get("devices", {}))
        self.lock = threading.RLock()
        self.seq, self.hears = 0, True
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"node-{self.node}", clean_session=True)
        death = NDeath(timestamp=now(), bd_seq_metric=self.bd_seq())
        self.client.will_set(self.topic("NDEATH"), death.encode(), 1, False)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.connect(arguments.address, arguments.port, keepalive=30)

    def topic(self, kind, device=None):
        topic = f"spBv1.0/{self.group}/{kind}/{self.node}"
        return topic if device is None else f"{topic}/{device}"

    def bd_seq(self):
        return Metric(timestamp=now(), name="bdSeq", datatype=DataType.INT64, value=0)

    def say(self, line):
        with self.lock:
            print(line, flush=True)

    def on_connect(self, client, _data, _flags, _reason, _properties):
        client.subscribe([(self.topic("NCMD"), 1), (self.topic("DCMD", "+"), 1)])

    def on_subscribe(self, *_):
        self.births()
        self.say("ready")

    def next_seq(self):
        seq, self.seq = self.seq, (self.seq + 1) % 256
        return seq

    def publish(self, kind, device, payload):
        self.client.publish(self.topic(kind, device), payload, 0, False)

    def metric(self, device, of, **more):
        fields = {"timestamp": now(), "name": of["name"], "datatype": DataType[of["type"]], "value": of["value"]}
        return Metric(**{**fields, "alias": self.alias[device, of["name"]], **more})

    def births(self):
        with self.lock:
            self.seq = 0
            rebirth = Metric(timestamp=now(), name=REBIRTH, datatype=DataType.BOOLEAN, value=False)
            own = tuple(self.metric("-", of) for of in self.metrics["-"])
            birth = NBirth(timestamp=now(), seq=self.next_seq(), metrics=(self.bd_seq(), rebirth, *own))
            self.publish("NBIRTH", None, birth.encode(include_dtypes=True))
            for device in sorted(self.there):
                self.birth(device)

    def birth(self, device):
        metrics = tuple(self.metric(device, of) for of in self.metrics[device])
        birth = DBirth(timestamp=now(), seq=self.next_seq(), metrics=metrics).encode(include_dtypes=True)
        payload = Payload.FromString(birth)
        for metric, of in zip(payload.metrics, self.metrics[device]):
            properties(metric, engUnit=of.get("unit"), readOnly=not of.get("writable", False))
        self.publish("DBIRTH", device, payload.SerializeToString())

    def data(self, device, metric, **told):
        """A metric without its type, and by its alias alone where births gave one, as the specification has it."""
        kind, message = ("NDATA", NData) if device == "-" else ("DDATA", DData)
        raw = message(timestamp=now(), seq=self.next_seq(), metrics=(metric,)).encode(include_dtypes=False)
        payload = Payload.FromString(raw)
        if metric.alias is not None:
            payload.metrics[0].ClearField("name")
        properties(payload.metrics[0], **told)
        self.publish(kind, None if device == "-" else device, payload.SerializeToString())

    def on_message(self, _client, _data, message):
        try:
            levels = message.topic.split("/")
            device = levels[4] if len(levels) > 4 else "-"
            names = {alias: name for (of, name), alias in self.alias.items() if of == device}
            for metric in (DCmd if levels[2] == "DCMD" else NCmd).decode(message.payload).metrics:
                name = metric.name or names[metric.alias]
                self.say(f"command {device} {name} {json.dumps(metric.value)}")
                if not self.hears:
                    continue
                if name == REBIRTH:
                    self.births()
                    continue
                with self.lock:
                    of = self.of(device, name)
                    of["value"] = metric.value
                    self.data(device, self.metric(device, of))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            self.say(f"unreadable {message.topic} {error!r}")

    def of(self, device, name):
        return next(of for of in self.metrics[device] if of["name"] == name)

    def put(self, device, name, value):
        of = self.of(device, name)
        of["value"] = value
        self.data(device, self.metric(device, of))

    def command(self, line):
        match line.split(" ", 3):
            case ["set", device, name, value]:
                self.put(device, name, json.loads(value))
            case ["repeat", device, name, count]:
                self.put(device, name, "x" * int(count))
            case ["history", device, name, rest]:
                at, value = rest.split(" ", 1)
                of = {**self.of(device, name), "value": json.loads(value)}
                self.data(device, self.metric(device, of, timestamp=int(at), is_historical=True))
            case ["null", device, name]:
                self.data(device, self.metric(device, {**self.of(device, name), "value": None}, is_null=True))
            case ["doubt", device, name, quality]:
                self.data(device, self.metric(device, self.of(device, name)), Quality=int(quality))
            case ["die", device]:
                self.there.discard(device)
                self.publish("DDEATH", device, DDeath(timestamp=now(), seq=self.next_seq()).encode())
            case ["born", device]:
                self.there.add(device)
                self.birth(device)
            case ["deaf" | "hear" as word]:
                self.hears = word == "hear"
            case _:
                raise ValueError(f"unknown command {line}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--metrics", required=True)
    node = Node(parser.parse_args())
    node.client.loop_start()
    for line in sys.stdin:
        try:
            with node.lock:
                node.command(line.strip())
            node.say("ok")
        except Exception as error:  # noqa: BLE001
            node.say(f"error {error!r}")


main()
