"""An MQTT client that sends what it is told to, packet by packet, and shows what came. Paho packs and unpacks the properties."""

import itertools
import socket
import struct
import time

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)
NAMES = "- CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH".split()

# How long an answer may take on a busy machine.
PATIENCE = 20.0


class Failure(Exception):
    """What a broker did that it should not have done, or the other way round."""


def text(words):
    raw = words.encode() if isinstance(words, str) else words
    return struct.pack("!H", len(raw)) + raw


def packed(kind, given):
    """Properties as they stand in a packet; `given` is a dict of Paho's names, or bytes that are taken as they are."""
    if isinstance(given, bytes):
        return given
    properties = Properties(kind)
    for name, value in (given or {}).items():
        setattr(properties, name, value)
    return properties.pack()


def frame(first, body):
    size, length = b"", len(body)
    while True:
        length, digit = divmod(length, 128)
        size += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + size + body


class Packet:
    """A packet of the broker. Which attributes it has depends on its kind."""

    def __init__(self, first, body, version):
        self.kind, self.flags, self.body, self.version = first >> 4, first & 15, body, version
        self.properties, self.code = {}, 0
        rest = body
        if self.kind == CONNACK:
            self.present, self.code, rest = bool(rest[0] & 1), rest[1], rest[2:]
            self.take_properties(rest)
        elif self.kind == PUBLISH:
            self.qos, self.retain, self.dup = self.flags >> 1 & 3, bool(self.flags & 1), bool(self.flags & 8)
            length = struct.unpack("!H", rest[:2])[0]
            self.topic, rest = rest[2 : 2 + length].decode(), rest[2 + length :]
            self.id = None
            if self.qos:
                self.id, rest = struct.unpack("!H", rest[:2])[0], rest[2:]
            self.payload = self.take_properties(rest)
        elif self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            self.id = struct.unpack("!H", rest[:2])[0]
            self.code = rest[2] if len(rest) > 2 else 0
        elif self.kind in (SUBACK, UNSUBACK):
            self.id = struct.unpack("!H", rest[:2])[0]
            self.codes = list(self.take_properties(rest[2:]))
        elif self.kind == DISCONNECT:
            self.code = rest[0] if rest else 0
            self.take_properties(rest[1:])

    def take_properties(self, rest):
        if self.version != 5 or not rest:
            return rest
        properties = Properties(self.kind)
        _, length = properties.unpack(rest)
        self.properties = {name: value for name, value in vars(properties).items() if name not in ("packetType", "types", "names", "properties")}
        return rest[length:]

    def __str__(self):
        about = {PUBLISH: lambda: f" {self.topic} {self.payload[:40]!r} at QoS {self.qos}", DISCONNECT: lambda: f" 0x{self.code:02X}"}
        return NAMES[self.kind] + about.get(self.kind, lambda: "")()


class Wire:
    """One connection. It is made at once, and unless `connect` is false the client says CONNECT and waits for the answer."""

    def __init__(self, address, client, version=5, clean=True, keep_alive=0, properties=None, will=None, login=None, connect=True):
        self.version, self.client, self.ids = version, client, itertools.count(1)
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.kept = b"", []
        self.connack = None
        self.introduction = self.connect_packet(clean, keep_alive, properties, will, login)
        if connect:
            self.send(self.introduction)
            self.connack = self.expect(CONNACK)
            if self.connack.code:
                raise Failure(f"the broker refused {client!r} with 0x{self.connack.code:02X}")

    def connect_packet(self, clean, keep_alive, properties, will, login):
        flags = (2 if clean else 0) | (0xC0 if login else 0)
        payload = text(self.client)
        if will:
            topic, message, qos, retain, more = will
            flags |= 4 | qos << 3 | (0x20 if retain else 0)
            payload += (packed(PacketTypes.WILLMESSAGE, more) if self.version == 5 else b"") + text(topic) + text(message)
        if login:
            payload += text(login[0]) + text(login[1])
        name = "MQIsdp" if self.version == 3 else "MQTT"
        head = text(name) + bytes([self.version, flags]) + struct.pack("!H", keep_alive)
        return frame(0x10, head + self.five(PacketTypes.CONNECT, properties) + payload)

    def five(self, kind, properties):
        return packed(kind, properties) if self.version == 5 else b""

    def send(self, raw):
        self.socket.sendall(raw)

    def packet(self, within=PATIENCE):
        """The next packet, or None when the broker has closed the connection."""
        if self.kept:
            return self.kept.pop(0)
        deadline = time.monotonic() + within
        while True:
            found = self.take()
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"nothing came within {within} s")
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return None
            if not more:
                return None
            self.buffer += more

    def take(self):
        length, shift = 0, 0
        for index, digit in enumerate(self.buffer[1:5]):
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                end = 2 + index + length
                if len(self.buffer) < end:
                    return None
                first, body = self.buffer[0], self.buffer[2 + index : end]
                self.buffer = self.buffer[end:]
                return Packet(first, body, self.version)
        return None

    def expect(self, kind, within=PATIENCE):
        """The next packet, which has to be of this kind."""
        packet = self.packet(within)
        if packet is None:
            raise Failure(f"the broker closed the connection instead of sending {NAMES[kind]}")
        if packet.kind != kind:
            raise Failure(f"{packet} came instead of {NAMES[kind]}")
        return packet

    def find(self, kind):
        """The next packet of this kind; others that come before it are kept."""
        seen = []
        while True:
            packet = self.packet()
            if packet is None:
                raise Failure(f"the broker closed the connection instead of sending {NAMES[kind]}")
            if packet.kind == kind:
                self.kept = seen + self.kept
                return packet
            seen.append(packet)

    def ended(self, within=PATIENCE):
        """Waits until the broker has closed the connection, and returns the code of its DISCONNECT, if there was one."""
        code = None
        while (packet := self.packet(within)) is not None:
            code = packet.code if packet.kind == DISCONNECT else code
        return code

    def quiet(self):
        """Fails if anything is on its way: a ping is answered after it."""
        self.send(b"\xc0\x00")
        self.expect(PINGRESP)

    def drain(self):
        """Everything that is on its way."""
        self.send(b"\xc0\x00")
        self.find(PINGRESP)
        packets, self.kept = self.kept, []
        return packets

    def subscribe(self, *filters, properties=None):
        """Subscribes to `(filter, options)` and returns the codes of the SUBACK."""
        body = b"".join(text(name) + bytes([options]) for name, options in filters)
        number = next(self.ids)
        self.send(frame(0x82, struct.pack("!H", number) + self.five(PacketTypes.SUBSCRIBE, properties) + body))
        answer = self.find(SUBACK)
        if answer.id != number:
            raise Failure(f"SUBACK has the id {answer.id} and not {number}")
        return answer.codes

    def unsubscribe(self, *filters):
        number = next(self.ids)
        body = b"".join(text(name) for name in filters)
        self.send(frame(0xA2, struct.pack("!H", number) + self.five(PacketTypes.UNSUBSCRIBE, None) + body))
        answer = self.find(UNSUBACK)
        if answer.id != number:
            raise Failure(f"UNSUBACK has the id {answer.id} and not {number}")
        return answer.codes

    def publish(self, topic, payload=b"", qos=0, retain=False, number=None, dup=False, properties=None):
        """Sends a PUBLISH and waits for nothing; returns its id."""
        number = number or (next(self.ids) if qos else None)
        body = text(topic) + (struct.pack("!H", number) if qos else b"") + self.five(PacketTypes.PUBLISH, properties)
        raw = payload.encode() if isinstance(payload, str) else payload
        self.send(frame(0x30 | qos << 1 | (1 if retain else 0) | (8 if dup else 0), body + raw))
        return number

    def published(self, topic, payload=b"", qos=0, retain=False, properties=None):
        """Publishes and waits until the broker has it."""
        number = self.publish(topic, payload, qos, retain, properties=properties)
        if qos == 0:
            self.send(b"\xc0\x00")
            return self.find(PINGRESP)
        answer = self.find(PUBACK if qos == 1 else PUBREC)
        if qos == 2 and answer.code < 0x80:
            self.acknowledge(PUBREL, number)
            self.find(PUBCOMP)
        return answer

    def acknowledge(self, kind, number):
        self.send(bytes([kind << 4 | (2 if kind == PUBREL else 0), 2]) + struct.pack("!H", number))

    def message(self):
        """The next message, acknowledged."""
        message = self.find(PUBLISH)
        if message.qos == 1:
            self.acknowledge(PUBACK, message.id)
        if message.qos == 2:
            self.acknowledge(PUBREC, message.id)
            if self.find(PUBREL).id != message.id:
                raise Failure("PUBREL has another id than its PUBLISH")
            self.acknowledge(PUBCOMP, message.id)
        return message

    def disconnect(self, code=0, properties=None):
        body = bytes([code]) + packed(PacketTypes.DISCONNECT, properties) if self.version == 5 and (code or properties) else b""
        self.send(frame(0xE0, body))
        self.socket.shutdown(socket.SHUT_WR)
        self.ended()
        self.close()

    def close(self):
        self.socket.close()
