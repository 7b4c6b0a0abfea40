"""A Sparkplug edge node with one device `pump`: pysparkplug makes the payloads, Paho speaks MQTT.

Metrics of the device by alias: 1 `Motor/Speed` (Double), 2 `steps` (Int64), 3 `Zustand ü` (String). Says `rebirth` when it is asked for its births, and
makes them. Takes commands on its standard input, answers `ok` or `error …`:
`birth`, `data ALIAS VALUE TIME` (JSON), `past ALIAS VALUE TIME`, `again` (the last message as it was), `lose` (a number that
no message has), `death` (of the device), `raw TOPIC HEX`.
"""

import argparse
import json
import sys
import threading
import time

import paho.mqtt.client as mqtt
from pysparkplug import DataType, DBirth, DData, DDeath, Metric, NBirth, NDeath

NAMES = {
    1: ("Motor/Speed", DataType.DOUBLE, 1.5),
    2: ("steps", DataType.INT64, 7),
    3: ("Zustand ü", DataType.STRING, "läuft"),
}


def now():
    return int(time.time() * 1000)


class Node:
    def __init__(self, arguments):
        self.group, self.node, self.device = arguments.group, arguments.node, "pump"
        self.start = arguments.time
        self.seq = 0
        self.last = None
        self.lock = threading.RLock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"node-{self.node}", clean_session=True)
        self.client.will_set(self.topic("NDEATH"), self.death().encode(include_dtypes=True), 1, False)
        self.client.on_connect = lambda client, *_: client.subscribe(self.topic("NCMD"), 1)
        self.client.on_subscribe = lambda *_: self.say("ready")
        self.client.on_message = self.on_message
        self.client.connect(arguments.address, arguments.port, keepalive=30)

    def bd_seq(self):
        return Metric(timestamp=now(), name="bdSeq", datatype=DataType.INT64, value=0)

    def death(self):
        return NDeath(timestamp=now(), bd_seq_metric=self.bd_seq())

    def topic(self, kind, device=False):
        return f"spBv1.0/{self.group}/{kind}/{self.node}" + (f"/{self.device}" if device else "")

    def say(self, line):
        with self.lock:
            print(line, flush=True)

    def on_message(self, _client, _data, _message):
        self.say("rebirth")
        with self.lock:
            self.birth()

    def number(self):
        number, self.seq = self.seq, (self.seq + 1) % 256
        return number

    def publish(self, topic, payload):
        self.last = (topic, payload.encode(include_dtypes=True))
        self.client.publish(*self.last, 0, False)

    def birth(self):
        self.seq = 0
        rebirth = Metric(timestamp=now(), name="Node Control/Rebirth", datatype=DataType.BOOLEAN, value=False)
        self.publish(self.topic("NBIRTH"), NBirth(timestamp=now(), seq=self.number(), metrics=(self.bd_seq(), rebirth)))
        metrics = tuple(
            Metric(timestamp=self.start, name=name, alias=alias, datatype=datatype, value=value)
            for alias, (name, datatype, value) in NAMES.items()
        )
        self.publish(self.topic("DBIRTH", True), DBirth(timestamp=now(), seq=self.number(), metrics=metrics))

    def data(self, alias, value, at, past):
        datatype = NAMES[alias][1]
        metric = Metric(
            timestamp=at, name=None, alias=alias, datatype=datatype, value=value, is_historical=past
        )
        self.publish(self.topic("DDATA", True), DData(timestamp=now(), seq=self.number(), metrics=(metric,)))

    def command(self, words):
        match words:
            case ["birth"]:
                self.birth()
            case ["data" | "past" as kind, alias, value, at]:
                self.data(int(alias), json.loads(value), int(at), kind == "past")
            case ["again"]:
                self.client.publish(*self.last, 0, False)
            case ["lose"]:
                self.number()
            case ["death"]:
                self.publish(self.topic("DDEATH", True), DDeath(timestamp=now(), seq=self.number()))
            case ["raw", topic, text]:
                self.client.publish(topic, bytes.fromhex(text), 0, False)
            case _:
                raise ValueError(f"unknown command {words}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--group", default="plant")
    parser.add_argument("--node", default="line4")
    parser.add_argument("--time", type=int, required=True)
    node = Node(parser.parse_args())
    node.client.loop_start()
    for line in sys.stdin:
        try:
            with node.lock:
                node.command(line.split())
            node.say("ok")
        except Exception as error:  # noqa: BLE001
            node.say(f"error {error!r}")


main()
