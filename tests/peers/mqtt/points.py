"""Where brokers have been found to go wrong: odd topics, odd ids, odd order, broken packets."""

import time

from rig import case, check, same
from wire import CONNACK, PATIENCE, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, frame, text

BOTH = (4, 5)

# Filter, topic, whether it selects it; all below a prefix of the case's own.
SELECTS = [
    ("a/b", "a/b", True), ("a/b", "a/B", False), ("a/b", "a/b/", False), ("a/b", "/a/b", False),
    ("a/#", "a", True), ("a/#", "a/", True), ("a/#", "a/b/c", True), ("a/#", "ab", False),
    ("#", "a", True), ("#", "/", True), ("#", "a//b", True),
    ("+", "a", True), ("+", "a/b", False), ("+/+", "/a", True), ("+/+", "a/", True), ("/+", "/a", True), ("/+", "a", False),
    ("a/+", "a/", True), ("a/+", "a", False), ("a/+/c", "a//c", True), ("a/+/c", "a/b/c", True), ("a/+/c", "a/c", False),
    ("+/b/#", "a/b", True), ("+/b/#", "a/b/c/d", True), ("a//c", "a//c", True), ("a//c", "a/c", False),
    ("é/+", "é/ß", True), ("日/#", "日/本/語", True), ("a b/+", "a b/c d", True), ("a/$b", "a/$b", True), ("a/+", "a/$b", True),
]  # fmt: skip

WRONG = ["a#", "a/#/b", "#/", "a+", "+a", "a/b+/c", "##", ""]


@case("filters select the topics that they should, and no others", BOTH)
def selection(c, version):
    publisher = c.wire("publisher", version)
    for number, (name, topic, selects) in enumerate(SELECTS):
        client = c.wire(f"client{number}", version)
        client.subscribe((c.topic(f"{number}/{name}"), 0), (c.topic("end"), 0))
        publisher.published(c.topic(f"{number}/{topic}"), "x", 1)
        publisher.published(c.topic("end"), "end", 1)
        found = client.message().payload
        same(found, b"x" if selects else b"end", f"{name} and {topic}")
        client.close()


@case("filters that are not well formed are refused", BOTH)
def not_well_formed(c, version):
    for number, name in enumerate(WRONG):
        client = c.wire(f"client{number}", version)
        body = b"\x00\x01" + (b"\x00" if version == 5 else b"") + text(name) + b"\x00"
        client.send(frame(0x82, body))
        answer = client.packet()
        check(answer is None or answer.kind != SUBACK or answer.codes[0] >= 0x80, f"{name!r} was granted")


@case("a publish to what is no topic ends the connection", BOTH)
def no_topic(c, version):
    for number, name in enumerate(("a/+", "#", "", "a\u0000b", b"\xff\xfe", b"\xed\xa0\x80")):
        client = c.wire(f"client{number}", version)
        client.publish(name, "x")
        client.ended()


@case("topics of any language, level and length are carried", BOTH)
def any_topic(c, version):
    topics = ["é/temp", "ü", "温度/炉", "🌊", "a" * 30_000, "/".join("x" * 150), " ", "/", "//", "a/\u00a0", "\ufeffa"]
    for name in topics:
        client, publisher = c.wire(version=version), c.wire("publisher", version)
        client.subscribe((f"{c.topic()}/{name}", 1))
        publisher.published(f"{c.topic()}/{name}", name[:99], 1)
        found = client.message()
        check(found.topic == f"{c.topic()}/{name}", f"{found.topic[:40]} came instead of {name[:40]}")
        client.disconnect()
        publisher.disconnect()


@case("a topic that begins with another alphabet harms nobody", BOTH)
def first_letter(c, version):
    client, publisher = c.wire(version=version), c.wire("publisher", version)
    name = f"é{c.id()}/temp"
    client.subscribe((f"é{c.id()}/#", 1), (f"ü{c.id()}", 0))
    publisher.published(name, "warm", 1)
    same(client.message().topic, name, "topic")


@case("client ids may have any letters", BOTH)
def any_id(c, version):
    for name in ("a/b", "+", "#", "a/#", "$share/x", "é", "温度", "with space", "x" * 200, "a,b;c", "%u", "../../x"):
        client = c.kept(version=version, clean=True, plain_id=f"{name}{c.id()}")
        client.subscribe((c.topic(), 1))
        client.close()
        publisher = c.wire("publisher", version)
        publisher.published(c.topic(), name, 1)
        back = c.kept(version=version, plain_id=f"{name}{c.id()}")
        check(back.connack.present, f"{name} has no session")
        same(back.message().payload.decode(), name, "message")
        back.close()
        c.wire(version=version, plain_id=f"{name}{c.id()}").disconnect()


@case("acknowledgements in another order are taken", BOTH)
def out_of_order(c, version):
    client, publisher = c.wire(version=version), c.wire("publisher", version)
    client.subscribe((c.topic(), 2))
    for number in range(8):
        publisher.published(c.topic(), str(number), 1 + number % 2)
    found = [client.expect(PUBLISH) for _ in range(8)]
    for message in reversed(found):
        client.acknowledge(PUBACK if message.qos == 1 else PUBREC, message.id)
    releases = {client.expect(PUBREL).id for _ in range(4)}
    for number in releases:
        client.acknowledge(PUBCOMP, number)
    client.quiet()
    publisher.published(c.topic(), "after", 1)
    same(client.message().payload, b"after", "message")


@case("acknowledgements of what was never sent harm nobody", BOTH)
def unknown_ids(c, version):
    client = c.wire(version=version)
    client.acknowledge(PUBREL, 77)
    packet = client.packet()
    check(packet is None or packet.kind == PUBCOMP, f"{packet} came after PUBREL")
    for kind in (PUBACK, PUBREC, PUBCOMP):
        other = c.wire(f"other{kind}", version)
        other.acknowledge(kind, 77)
    watcher = c.wire("watcher", version)
    watcher.subscribe((c.topic(), 1))
    watcher.published(c.topic(), "x", 1)
    same(watcher.message().payload, b"x", "message")


@case("a message at level 2 that is sent again comes once", BOTH)
def again(c, version):
    watcher, client = c.wire("watcher", version), c.wire(version=version)
    watcher.subscribe((c.topic(), 2))
    client.publish(c.topic(), "once", 2, number=5)
    client.expect(PUBREC)
    client.publish(c.topic(), "once", 2, number=5, dup=True)
    client.expect(PUBREC)
    client.acknowledge(PUBREL, 5)
    client.expect(PUBCOMP)
    client.published(c.topic(), "end", 2)
    same([watcher.message().payload, watcher.message().payload], [b"once", b"end"], "messages")


@case("a message at level 2 comes once although the publisher was away in between", BOTH)
def resumed(c, version):
    watcher, client = c.wire("watcher", version), c.kept(version=version, clean=True)
    watcher.subscribe((c.topic(), 2))
    client.publish(c.topic(), "once", 2, number=5)
    client.expect(PUBREC)
    client.close()
    back = c.kept(version=version)
    back.publish(c.topic(), "once", 2, number=5, dup=True)
    back.expect(PUBREC)
    back.close()
    back = c.kept(version=version)
    back.acknowledge(PUBREL, 5)
    same(back.expect(PUBCOMP).id, 5, "PUBCOMP")
    back.published(c.topic(), "end", 2)
    same([watcher.message().payload, watcher.message().payload], [b"once", b"end"], "messages")


@case("a subscriber at level 2 goes on where it stopped", BOTH)
def resumed_reading(c, version):
    client, publisher = c.kept(version=version, clean=True), c.wire("publisher", version)
    client.subscribe((c.topic(), 2))
    publisher.published(c.topic(), "x", 2)
    message = client.expect(PUBLISH)
    client.acknowledge(PUBREC, message.id)
    client.expect(PUBREL)
    client.close()
    back = c.kept(version=version)
    same(back.expect(PUBREL).id, message.id, "PUBREL after the reconnect")
    back.acknowledge(PUBCOMP, message.id)
    back.quiet()


@case("three thousand retained messages come to subscribers of each level", BOTH)
def many_retained(c, version):
    publisher = c.wire("publisher", version)
    for number in range(3_000):
        publisher.publish(c.topic(f"{number % 50}/{number}"), str(number), 0, True)
    publisher.drain()
    for level in (0, 1, 2):
        client = c.wire(f"client{level}", version)
        client.subscribe((c.topic("#"), level))
        found = {int(client.message().payload) for _ in range(3_000)}
        same(len(found), 3_000, f"messages at {level}")
        client.quiet()
    for number in range(3_000):
        publisher.publish(c.topic(f"{number % 50}/{number}"), "", 0, True)
    publisher.drain()


@case("many filters in one packet are answered one by one", BOTH)
def many_filters(c, version):
    client = c.wire(version=version)
    same(client.subscribe(*((c.topic(str(number)), number % 3) for number in range(300))), [number % 3 for number in range(300)], "codes")
    for number in range(300):
        client.published(c.topic(str(number)), "x")
    # Those at the levels 1 and 2 wait for acknowledgements; what was published at 0 comes at 0.
    same(sum(packet.kind == PUBLISH for packet in client.drain()), 300, "messages")


@case("a subscription that is made again replaces the one before", BOTH)
def replaced(c, version):
    client = c.wire(version=version)
    client.subscribe((c.topic(), 2))
    client.subscribe((c.topic(), 0))
    client.published(c.topic(), "x", 2)
    same(client.message().qos, 0, "level")
    client.quiet()


@case("the defaults of MQTT Explorer are granted: everything, and $SYS", BOTH)
def explorer(c, version):
    client = c.wire(version=version)
    same(client.subscribe(("#", 0), ("$SYS/#", 0)), [0, 0], "codes")
    publisher = c.wire("publisher", version)
    publisher.published(c.topic(), "x", 1)
    until = time.monotonic() + PATIENCE
    while client.message().topic != c.topic():
        check(time.monotonic() < until, "a message did not come")


@case("$SYS tells about the broker", BOTH, long=True)
def sys(c, version):
    client = c.wire(version=version)
    client.subscribe(("$SYS/#", 0))
    wanted = {f"$SYS/broker/{name}" for name in ("version", "uptime", "clients/connected", "messages/received", "messages/sent", "retained messages/count")}
    until = time.monotonic() + PATIENCE
    while wanted:
        check(time.monotonic() < until, f"it does not tell {sorted(wanted)}")
        wanted.discard(client.message().topic)


@case("nobody can publish to $SYS", BOTH)
def sys_published(c, version):
    watcher, client = c.wire("watcher", version), c.wire(version=version)
    watcher.subscribe(("$SYS/broker/suite/#", 1), (c.topic("end"), 1))
    client.publish(f"$SYS/broker/suite/{c.number}", "x", 0)
    c.wire("other", version).published(c.topic("end"), "end", 1)
    same(watcher.message().payload, b"end", "message")


@case("a second CONNECT ends the connection", BOTH)
def twice(c, version):
    client = c.wire(version=version)
    client.send(client.introduction)
    client.ended()


@case("packets that break the rules end the connection", BOTH)
def rules(c, version):
    five = b"\x00" if version == 5 else b""
    broken = {
        "a level of 3": frame(0x36, text("a") + b"\x00\x01" + five),
        "a SUBSCRIBE without its flags": frame(0x80, b"\x00\x01" + five + text("a") + b"\x00"),
        "a SUBSCRIBE without filters": frame(0x82, b"\x00\x01" + five),
        "a SUBSCRIBE at level 3": frame(0x82, b"\x00\x01" + five + text("a") + b"\x03"),
        "a SUBSCRIBE with the id 0": frame(0x82, b"\x00\x00" + five + text("a") + b"\x00"),
        "an UNSUBSCRIBE without filters": frame(0xA2, b"\x00\x01" + five),
        "a PUBREL without its flags": frame(0x60, b"\x00\x01"),
        "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
        "a packet of the kind 0": b"\x00\x00",
        "a packet of the broker": frame(CONNACK << 4, b"\x00\x00" + five),
    }
    for number, (name, raw) in enumerate(broken.items()):
        client = c.wire(f"client{number}", version)
        client.send(raw)
        try:
            client.ended()
        except Exception as error:
            raise type(error)(f"{name}: {error}") from None


@case("a CONNECT that breaks the rules is let in nowhere", BOTH)
def introductions(c, version):
    five = b"\x00" if version == 5 else b""
    head = text("MQTT") + bytes([version])
    broken = [
        frame(0x10, head + b"\x03\x00\x00" + five + text("x")),
        frame(0x10, head + b"\x1a\x00\x00" + five + text("x")),
        frame(0x10, head + b"\x82\x00\x00" + five + text("x")),
        frame(0x10, text("MQTX") + bytes([version]) + b"\x02\x00\x00" + five + text("x")),
        frame(0x10, text("MQTT") + b"\x63\x02\x00\x00\x00" + text("x")),
        frame(0x10, head + b"\x02\x00\x00" + five + b"\x00\x02\xff\xfe"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    ]
    for number, raw in enumerate(broken):
        client = c.wire(f"client{number}", version, connect=False)
        client.send(raw)
        packet = client.packet()
        check(packet is None or (packet.kind == CONNACK and packet.code), f"number {number} was answered with {packet}")


@case("an old client of MQTT 3.1 is let in")
def old(c):
    client = c.wire(version=3)
    same(client.subscribe((c.topic(), 1)), [1], "granted")
    client.published(c.topic(), "x", 1)
    same(client.message().payload, b"x", "message")
