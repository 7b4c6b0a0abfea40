"""What every client of MQTT 3.1.1 and 5 relies on, seen by Paho; where Paho cannot say it, by packets."""

import time

from rig import case, check, rest, same
from wire import DISCONNECT, PINGRESP, PUBACK, PUBLISH, PUBREC, PUBREL

BOTH = (4, 5)


@case("messages come at each level of service", BOTH)
def levels(c, version):
    client = c.paho(version=version)
    same(client.subscribe((c.topic("0"), 0), (c.topic("1"), 1), (c.topic("2"), 2)), [0, 1, 2], "granted")
    for level in (0, 1, 2):
        client.publish(c.topic(str(level)), f"at {level}", level)
        found = client.message()
        same((found.topic, found.payload, found.qos, found.retain), (c.topic(str(level)), f"at {level}".encode(), level, False), "message")


@case("the level of a message is the lower of publisher's and subscriber's", BOTH)
def lower(c, version):
    client = c.paho(version=version)
    client.subscribe((c.topic("0"), 0), (c.topic("1"), 1), (c.topic("2"), 2))
    for granted in (0, 1, 2):
        for published in (0, 1, 2):
            client.publish(c.topic(str(granted)), "x", published)
            same(client.message().qos, min(granted, published), f"published at {published}, subscribed at {granted}")


def order(level):
    @case(f"five hundred messages at level {level} arrive in their order", BOTH)
    def ordered(c, version):
        client, publisher = c.paho(version=version), c.paho("publisher", version=version)
        client.subscribe((c.topic("#"), 2))
        for number in range(500):
            publisher.client.publish(c.topic(str(number % 7)), str(number), level)
        same([int(client.message().payload) for _ in range(500)], list(range(500)), "order")


for each in (0, 1, 2):
    order(each)


@case("retained messages come to who subscribes later, until an empty one removes them", BOTH)
def retained(c, version):
    publisher = c.paho("publisher", version=version)
    for level in (0, 1, 2):
        publisher.publish(c.topic(str(level)), f"kept {level}", level, True)
    publisher.publish(c.topic("last"), "x", 1)
    client = c.paho(version=version)
    client.subscribe((c.topic("+"), 2))
    found = sorted((message.topic, message.payload.decode(), message.qos, message.retain) for message in (client.message() for _ in range(3)))
    same(found, [(c.topic(str(level)), f"kept {level}", level, True) for level in (0, 1, 2)], "retained")
    publisher.publish(c.topic("0"), "live", 1, True)
    live = client.message()
    same((live.payload, live.retain), (b"live", False), "a message for somebody who has already subscribed")
    for level in (0, 1, 2):
        publisher.publish(c.topic(str(level)), "", 1, True)
        same(client.message().payload, b"", "the empty message")
    late = c.paho("late", version=version)
    late.subscribe((c.topic("#"), 2))
    late.nothing_before(publisher, c.topic("end"))


@case("an empty message that is not retained removes nothing", BOTH)
def empty(c, version):
    client = c.paho(version=version)
    client.publish(c.topic(), "kept", 1, True)
    client.publish(c.topic(), "", 1)
    client.subscribe((c.topic(), 1))
    same(client.message().payload, b"kept", "retained")


@case("whoever subscribes again gets the retained messages again", BOTH)
def again(c, version):
    client = c.paho(version=version)
    client.publish(c.topic(), "kept", 1, True)
    for _ in range(3):
        client.subscribe((c.topic(), 1))
        found = client.message()
        same((found.payload, found.retain), (b"kept", True), "retained")


@case("a client without an id is let in", BOTH)
def no_id(c, version):
    client = c.paho(None, version=version)
    other = c.paho(None, version=version)
    client.subscribe((c.topic(), 1))
    other.publish(c.topic(), "x", 1)
    same(client.message().payload, b"x", "message")
    if version == 4:
        wire = c.wire(version=4, plain_id="", clean=False, connect=False)
        wire.send(wire.introduction)
        same(wire.packet().code, 2, "the answer to an empty id with a session to be kept")
        wire.ended()


@case("what comes while a client is away waits for it", BOTH)
def offline(c, version):
    client, publisher = c.kept_paho(version=version, clean=True), c.paho("publisher", version=version)
    client.subscribe((c.topic("#"), 2))
    client.disconnect()
    for level in (1, 2):
        for number in range(5):
            publisher.publish(c.topic(str(number)), f"{level} {number}", level)
    back = c.kept_paho(version=version)
    check(back.present, "the session is not present")
    same(back.payloads(10), [f"{level} {number}" for level in (1, 2) for number in range(5)], "messages")
    back.nothing_before(publisher, c.topic("end"))


@case("a hundred messages of each level wait in order", BOTH)
def queue(c, version):
    for level in (1, 2):
        name = f"client{level}"
        client, publisher = c.kept_paho(name, version, clean=True), c.paho("publisher", version)
        client.subscribe((c.topic(), 2))
        client.cut()
        for number in range(100):
            publisher.publish(c.topic(), str(number), level)
        same(c.kept_paho(name, version).payloads(100), [str(number) for number in range(100)], f"messages at {level}")


@case("a clean start forgets the session", BOTH)
def clean(c, version):
    client, publisher = c.kept_paho(version=version, clean=True), c.paho("publisher", version=version)
    client.subscribe((c.topic(), 1))
    client.disconnect()
    publisher.publish(c.topic(), "gone", 1)
    back = c.paho(version=version, clean=True)
    check(not back.present, "the session is present")
    back.subscribe((c.topic("new"), 1))
    publisher.publish(c.topic(), "gone too", 1)
    back.nothing_before(publisher, c.topic("new"))


@case("overlapping subscriptions bring a message once or once for each", BOTH)
def overlapping(c, version):
    client = c.paho(version=version)
    client.subscribe((c.topic("+"), 1), (c.topic("#"), 2))
    client.publish(c.topic("x"), "both", 2)
    client.publish(c.topic("end/x"), "one", 2)
    found = []
    while not found or found[-1].payload != b"one":
        found.append(client.message())
    levels = sorted(message.qos for message in found[:-1])
    check(levels in ([2], [1, 2]), f"the message came at the levels {levels}")


@case("a client that falls silent is taken for lost, and not too early", BOTH)
def keep_alive(c, version):
    watcher = c.paho("watcher", version=version)
    watcher.subscribe((c.topic(), 1))
    started = time.monotonic()
    silent = c.wire("silent", version, keep_alive=2, will=(c.topic(), "lost", 1, False, {}))
    code = silent.ended()
    took = time.monotonic() - started
    same(watcher.message().payload, b"lost", "will")
    check(took > 2.0, f"it was taken for lost after {took:.1f} s with a keep-alive of 2 s")
    check(code in (None, 0x8D), f"DISCONNECT has the code 0x{code or 0:02X}")


@case("pings keep a connection", BOTH, long=True)
def pings(c, version):
    # The pauses are short against the keep-alive, however busy the machine is; together they are longer than it allows.
    client = c.wire(version=version, keep_alive=6)
    for _ in range(11):
        rest(1)
        client.send(b"\xc0\x00")
        client.expect(PINGRESP)


@case("without a keep-alive nobody is taken for lost", BOTH, long=True)
def no_keep_alive(c, version):
    client = c.wire(version=version, keep_alive=0)
    rest(4)
    client.quiet()


@case("what was not acknowledged comes again after a reconnect", BOTH)
def redelivery(c, version):
    client = c.kept(version=version, clean=True)
    client.subscribe((c.topic(), 2))
    publisher = c.paho("publisher", version=version)
    publisher.publish(c.topic(), "one", 1)
    publisher.publish(c.topic(), "two", 2)
    same({client.expect(PUBLISH).payload for _ in range(2)}, {b"one", b"two"}, "messages")
    client.close()
    back = c.kept(version=version)
    check(back.connack.present, "the session is not present")
    found = [back.expect(PUBLISH), back.expect(PUBLISH)]
    same([(message.payload, message.qos, message.dup) for message in found], [(b"one", 1, True), (b"two", 2, True)], "again")
    back.acknowledge(PUBACK, found[0].id)
    back.acknowledge(PUBREC, found[1].id)
    same(back.expect(PUBREL).id, found[1].id, "PUBREL")


@case("a right that is lacking is said in the SUBACK", BOTH)
def refused(c, version):
    client = c.paho(version=version, **c.as_user("limited"))
    codes = client.subscribe((c.open("x"), 1), ("secret/x", 1), (c.open("#"), 2))
    same((codes[0], codes[2]), (1, 2), "what is allowed")
    check(codes[1] >= 0x80, f"the forbidden one was granted with {codes[1]}")


@case("a forbidden publish reaches nobody", BOTH)
def forbidden(c, version):
    watcher = c.paho("watcher", version=version, **c.as_user("watcher"))
    client = c.paho(version=version, **c.as_user("limited"))
    watcher.subscribe(("secret/#", 1), (c.open("#"), 1))
    client.publish("secret/" + c.topic(), "forbidden", 0)
    client.publish(c.open("x"), "allowed", 1)
    found = watcher.message()
    same((found.topic, found.payload), (c.open("x"), b"allowed"), "message")


@case("a wrong password is refused with a code", BOTH)
def password(c, version):
    user = c.as_user("limited")
    wire = c.wire(version=version, connect=False, port=user["port"], login=("limited", "wrong"))
    wire.send(wire.introduction)
    answer = wire.packet()
    check(answer is not None, "the connection was closed without an answer")
    check(answer.code in ((4, 5) if version == 4 else (0x86, 0x87)), f"CONNACK has the code {answer.code}")
    wire.ended()


@case("topics that begin with $ are not selected by wildcards", BOTH)
def dollar(c, version):
    client = c.paho(version=version)
    client.subscribe(("+/" + c.topic(), 1), (c.topic("#"), 1))
    client.publish("$" + c.topic(), "hidden", 0)
    client.nothing_before(client, c.topic("end"))


@case("after an unsubscribe nothing comes any more", BOTH)
def unsubscribe(c, version):
    client = c.paho(version=version)
    client.subscribe((c.topic("a"), 1), (c.topic("b"), 1), (c.topic("c"), 1))
    client.unsubscribe(c.topic("a"))
    client.publish(c.topic("a"), "x", 1)
    client.nothing_before(client, c.topic("b"))
    client.unsubscribe(c.topic("b"), c.topic("c"))
    client.subscribe((c.topic("end"), 1))
    client.publish(c.topic("c"), "x", 1)
    client.nothing_before(client, c.topic("end"))


@case("an unsubscribe of unknown and of several filters is answered once", BOTH)
def unknown(c, version):
    client = c.wire(version=version)
    client.subscribe((c.topic("a"), 0), (c.topic("b"), 0))
    codes = client.unsubscribe(c.topic("nobody"))
    same(codes, [0x11] if version == 5 else [], "codes")
    codes = client.unsubscribe(c.topic("a"), c.topic("nobody"), c.topic("b"))
    same(codes, [0, 0x11, 0] if version == 5 else [], "codes")
    client.quiet()


@case("a second client with the same id takes over", BOTH)
def take_over(c, version):
    first = c.kept("same", version, clean=True)
    first.subscribe((c.topic(), 1))
    second = c.kept("same", version)
    check(second.connack.present, "the session is not present")
    code = first.ended()
    check(code == (0x8E if version == 5 else None), f"the first was told {code}")
    second.published(c.topic(), "x", 1)
    same(second.message().payload, b"x", "message")


@case("a will comes when a connection breaks, and not after a goodbye", BOTH)
def will(c, version):
    watcher = c.paho("watcher", version=version)
    watcher.subscribe((c.topic("#"), 2))
    lost = c.paho("lost", version=version, will=(c.topic("lost"), "gone", 2, True, {}))
    polite = c.paho("polite", version=version, will=(c.topic("polite"), "gone", 1, False, {}))
    polite.disconnect()
    lost.cut()
    found = watcher.message()
    same((found.topic, found.payload, found.qos, found.retain), (c.topic("lost"), b"gone", 2, False), "will")
    watcher.nothing_before(watcher, c.topic("end"))
    late = c.paho("late", version=version)
    late.subscribe((c.topic("lost"), 1))
    check(late.message().retain, "a retained will is not retained")


@case("a will comes when the client breaks the protocol", BOTH)
def fault(c, version):
    watcher = c.paho("watcher", version=version)
    watcher.subscribe((c.topic(), 1))
    client = c.wire("bad", version, will=(c.topic(), "broken", 1, False, {}))
    client.send(b"\x00\x00")
    client.ended()
    same(watcher.message().payload, b"broken", "will")


@case("a large message arrives whole", BOTH)
def large(c, version):
    client = c.paho(version=version)
    client.subscribe((c.topic(), 2))
    payload = bytes(range(256)) * 3_500
    for level in (0, 1, 2):
        client.publish(c.topic(), payload, level)
        check(client.message().payload == payload, f"it did not arrive whole at {level}")


@case("packets in pieces and several at once are understood", BOTH)
def pieces(c, version):
    client = c.wire(version=version, connect=False)
    for byte in client.introduction:
        client.send(bytes([byte]))
    same(client.packet().code, 0, "CONNACK")
    two = c.wire("two", version, connect=False)
    topic = c.topic().encode()
    five = b"\x00" if version == 5 else b""
    subscribe = b"\x00\x01" + five + len(topic).to_bytes(2) + topic + b"\x00"
    publish = len(topic).to_bytes(2) + topic + five + b"at once"
    two.send(two.introduction + bytes([0x82, len(subscribe)]) + subscribe + bytes([0x30, len(publish)]) + publish)
    two.find(2)
    two.find(9)
    same(two.find(PUBLISH).payload, b"at once", "message")


@case("a goodbye of the client ends the connection", BOTH)
def goodbye(c, version):
    client = c.wire(version=version)
    client.send(bytes([DISCONNECT << 4, 0]))
    check(client.ended() is None, "a goodbye needs no answer")


@case("what is in flight to a client has a limit, and the rest follows", BOTH)
def in_flight(c, version):
    client, publisher = c.wire(version=version), c.wire("publisher", version)
    client.subscribe((c.topic(), 1))
    for number in range(400):
        publisher.published(c.topic(), str(number), 1)
    first = [packet for packet in client.drain() if packet.kind == PUBLISH]
    check(first, "nothing came")
    for packet in first:
        client.acknowledge(PUBACK, packet.id)
    others = [client.message() for _ in range(400 - len(first))]
    found = [int(packet.payload) for packet in first + others]
    same(found, list(range(400)), "messages")
