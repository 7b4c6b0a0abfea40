"""What a case is made of: a broker to go to, names that no other case has, and clients that are gone when it ends."""

import itertools
import queue
import secrets
import socket
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from wire import PATIENCE, Failure, Wire

CASES = []
# Begins every name, so that a broker may be asked again.
RUN = secrets.token_hex(2)
# A session that the broker is to keep for a day.
KEPT = {"SessionExpiryInterval": 86_400}


class Skipped(Exception):
    """Why a case cannot be tried on this broker."""


def case(name, versions=(None,), long=False):
    """Adds a case: a sentence. With versions it is one case for each. Long ones wait for something to expire; they begin first."""

    def add(function):
        for version in versions:
            label = name if version is None else f"{'3.1.1' if version == 4 else version}: {name}"
            arguments = () if version is None else (version,)
            CASES.append((label, function, arguments, long))
        return function

    return add


def check(holds, otherwise):
    if not holds:
        raise Failure(otherwise)


def same(found, wanted, what):
    check(found == wanted, f"{what}: {found!r} instead of {wanted!r}")


class Case:
    numbers = itertools.count(1)

    def __init__(self, place):
        self.place, self.number, self.clients = place, next(Case.numbers), []

    def topic(self, rest=""):
        return f"s{RUN}/{self.number}{'/' + rest if rest else ''}"

    def id(self, name="client"):
        return f"s{RUN}-{self.number}-{name}"

    def open(self, rest):
        """A topic that all users may use."""
        return "open/" + self.topic(rest)

    def as_user(self, name):
        """Where and how to log in as a user: `limited` may use `open/#`, `watcher` everything."""
        if not self.place.users_port:
            raise Skipped("no listener with users was given")
        return {"port": self.place.users_port, "login": (name, f"{name}-word")}

    def wire(self, name="client", version=5, plain_id=None, port=None, **options):
        client = self.id(name) if plain_id is None else plain_id
        wire = Wire((self.place.host, port or self.place.port), client, version, **options)
        self.clients.append(wire)
        return wire

    def kept(self, name="client", version=5, clean=False, **options):
        """A client whose session outlives its connection. `clean` is how it begins, which 3.1.1 cannot tell apart."""
        if version == 5:
            options["properties"] = {**KEPT, **options.get("properties", {})}
        clean = clean and version == 5
        return self.wire(name, version, clean=clean, **options)

    def paho(self, name="client", version=5, **options):
        client = Paho(self.place, self.id(name) if name is not None else "", version, **options)
        self.clients.append(client)
        return client

    def kept_paho(self, name="client", version=5, clean=False, **options):
        if version == 5:
            options["properties"] = {**KEPT, **options.get("properties", {})}
        clean = clean and version == 5
        return self.paho(name, version, clean=clean, **options)

    def close(self):
        for client in self.clients:
            client.close()


def properties(kind, given):
    if not given:
        return None
    made = Properties(kind)
    for name, value in given.items():
        setattr(made, name, value)
    return made


class Paho:
    """A client of Eclipse Paho that is connected."""

    def __init__(self, place, client, version, clean=True, keep_alive=60, properties=None, will=None, login=None, manual=False, port=None, tls=None, path=None):
        self.version, self.messages, self.answers, self.over = version, queue.Queue(), queue.Queue(), queue.Queue()
        protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
        transport = "websockets" if path else "tcp"
        session = {} if version == 5 else {"clean_session": clean}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client, protocol=protocol, transport=transport, reconnect_on_failure=False, manual_ack=manual, **session
        )
        if path:
            self.client.ws_set_options(path)
        if tls:
            self.client.tls_set(**tls)
        if will:
            topic, message, qos, retain, more = will
            self.client.will_set(topic, message, qos, retain, self.made(PacketTypes.WILLMESSAGE, more))
        if login:
            self.client.username_pw_set(*login)
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_connect = lambda _client, _data, flags, code, more: self.answers.put((flags, code, more))
        self.client.on_subscribe = lambda _client, _data, mid, codes, more: self.answers.put([code.value for code in codes])
        self.client.on_unsubscribe = lambda _client, _data, mid, codes, more: self.answers.put([code.value for code in codes])
        self.client.on_disconnect = lambda _client, _data, flags, code, more: self.over.put(code)
        self.client.max_inflight_messages_set(100)
        start = {"clean_start": clean, "properties": self.made(PacketTypes.CONNECT, properties)} if version == 5 else {}
        self.client.connect(place.host, port or place.port, keep_alive, **start)
        self.client.loop_start()
        flags, self.code, self.properties = self.answer("CONNACK")
        self.present = flags.session_present

    def made(self, kind, given):
        return properties(kind, given) if self.version == 5 else None

    def answer(self, what):
        try:
            return self.answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure(f"no {what} within {PATIENCE} s") from None

    def subscribe(self, *filters, properties=None):
        """Subscribes to `(filter, QoS or SubscribeOptions)`; returns the codes."""
        if self.version == 5:
            filters = [(name, level if isinstance(level, SubscribeOptions) else SubscribeOptions(qos=level)) for name, level in filters]
        self.client.subscribe(list(filters), properties=self.made(PacketTypes.SUBSCRIBE, properties))
        return self.answer("SUBACK")

    def unsubscribe(self, *filters):
        self.client.unsubscribe(list(filters))
        return self.answer("UNSUBACK")

    def publish(self, topic, payload="", qos=0, retain=False, **given):
        """Publishes and waits until the broker has said that it has it (QoS 1 and 2)."""
        info = self.client.publish(topic, payload, qos, retain, self.made(PacketTypes.PUBLISH, given))
        if qos:
            info.wait_for_publish(PATIENCE)
            check(info.is_published(), f"a publish to {topic} at QoS {qos} was not acknowledged")

    def message(self, within=PATIENCE):
        try:
            return self.messages.get(timeout=within)
        except queue.Empty:
            raise Failure(f"no message within {within} s") from None

    def payloads(self, count):
        return [self.message().payload.decode() for _ in range(count)]

    def nothing_before(self, publisher, topic, payload="the end"):
        """Publishes there and fails if another message comes first."""
        publisher.publish(topic, payload, 1)
        found = self.message()
        same((found.topic, found.payload.decode()), (topic, payload), "a message that should not have come")

    def cut(self):
        """Ends the connection without a word."""
        found = self.client.socket()
        if found:
            found.shutdown(socket.SHUT_RDWR)
        self.over.get(timeout=PATIENCE)
        self.client.loop_stop()

    def disconnect(self):
        self.client.disconnect()
        self.over.get(timeout=PATIENCE)
        self.client.loop_stop()

    def ended(self, within=PATIENCE):
        """Waits until the broker has ended the connection."""
        try:
            return self.over.get(timeout=within).value
        except queue.Empty:
            raise Failure(f"the broker did not end the connection within {within} s") from None

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def rest(seconds):
    """Lets time pass that something needs to expire."""
    time.sleep(seconds)
