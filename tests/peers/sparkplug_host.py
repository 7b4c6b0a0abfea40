"""A Sparkplug host application: pysparkplug reads and writes the payloads, Paho speaks MQTT.

Prints a line of JSON for each message of the namespace. Takes commands on its standard input:
`rebirth GROUP NODE`, `write GROUP NODE DEVICE METRIC VALUE` (JSON), `offline`, `online`; answers `ok` or `error …`.
"""

import argparse
import json
import sys
import threading
import time

import paho.mqtt.client as mqtt
from pysparkplug import DataType, DCmd, Message, Metric, NCmd, State, Topic


def now():
    return int(time.time() * 1000)


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


class Host:
    def __init__(self, arguments):
        self.id = arguments.host_id
        self.births = {}
        self.lock = threading.Lock()
        self.connected = now()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"host-{self.id}", clean_session=True)
        self.client.will_set(self.state_topic(), State(timestamp=self.connected, online=False).encode(), 1, True)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = lambda *_: self.say_online()
        self.client.on_message = self.on_message
        self.client.connect(arguments.address, arguments.port, keepalive=30)

    def state_topic(self):
        return f"spBv1.0/STATE/{self.id}"

    def on_connect(self, client, _data, _flags, reason, _properties):
        client.subscribe("spBv1.0/#", 1)

    def say_online(self):
        if self.id != "nobody":
            self.client.publish(self.state_topic(), State(timestamp=self.connected, online=True).encode(), 1, True)
        self.say("ready")

    def say(self, line):
        with self.lock:
            print(line, flush=True)

    def on_message(self, _client, _data, message):
        try:
            topic = Topic.from_str(message.topic)
            key = (topic.group_id, topic.edge_node_id, topic.device_id)
            kind = topic.message_type.value
            if kind in ("NDATA", "DDATA") and key not in self.births:
                # A host that has just come cannot read it; it asks for births.
                return
            read = Message.from_mqtt_message(message, birth=self.births.get(key))
            if kind in ("NBIRTH", "DBIRTH"):
                self.births[key] = read.payload
            told = {"topic": message.topic, "kind": kind, "retain": message.retain, "qos": message.qos}
            if kind == "NDEATH":
                told["bdSeq"] = read.payload.bd_seq_metric.value
            elif kind != "STATE":
                told["seq"] = getattr(read.payload, "seq", None)
                told["timestamp"] = read.payload.timestamp
                told["metrics"] = [
                    {
                        "name": metric.name,
                        "type": DataType(metric.datatype).name,
                        "value": plain(metric.value),
                        "null": metric.is_null,
                        "historical": metric.is_historical,
                        "timestamp": metric.timestamp,
                    }
                    for metric in getattr(read.payload, "metrics", ())
                ]
            self.say("message " + json.dumps(told))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            self.say(f"unreadable {message.topic} {error!r}")

    def publish(self, topic, payload):
        self.client.publish(topic, payload.encode(include_dtypes=True), 0, False)

    def command(self, words):
        match words:
            case ["rebirth", group, node]:
                metric = Metric(timestamp=now(), name="Node Control/Rebirth", datatype=DataType.BOOLEAN, value=True)
                self.publish(f"spBv1.0/{group}/NCMD/{node}", NCmd(timestamp=now(), metrics=(metric,)))
            case ["write", group, node, device, name, value]:
                datatype = self.births[(group, node, device)].get_dtype(name)
                metric = Metric(timestamp=now(), name=name, datatype=datatype, value=json.loads(value))
                self.publish(f"spBv1.0/{group}/DCMD/{node}/{device}", DCmd(timestamp=now(), metrics=(metric,)))
            case ["offline" | "online" as state]:
                self.connected = now()
                payload = State(timestamp=self.connected, online=state == "online").encode()
                self.client.publish(self.state_topic(), payload, 1, True).wait_for_publish(5)
            case _:
                raise ValueError(f"unknown command {words}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host-id", default="nobody")
    host = Host(parser.parse_args())
    host.client.loop_start()
    for line in sys.stdin:
        try:
            host.command(line.split())
            host.say("ok")
        except Exception as error:  # noqa: BLE001
            host.say(f"error {error!r}")


main()
