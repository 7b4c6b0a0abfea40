"""What MQTT 5 brings beyond 3.1.1."""

import time

from paho.mqtt.subscribeoptions import SubscribeOptions

from rig import case, check, rest, same
from wire import PATIENCE, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL


@case("an id is assigned and can be used again")
def assigned(c):
    client = c.paho(None, properties={"SessionExpiryInterval": 60})
    name = client.properties.AssignedClientIdentifier
    check(name, "CONNACK has no assigned id")
    client.subscribe((c.topic(), 1))
    client.cut()
    back = c.wire(plain_id=name, clean=False)
    check(back.connack.present, "the session is not present")
    check("AssignedClientIdentifier" not in back.connack.properties, "an id was assigned to a client that has one")


@case("user properties come unchanged, in their order, and nothing beside them")
def user_properties(c):
    client = c.paho()
    client.subscribe((c.topic(), 2))
    given = [("b", "1"), ("a", "2"), ("b", "1"), ("é", "ü"), ("", "")]
    for level in (0, 1, 2):
        client.publish(c.topic(), "x", level, UserProperty=given)
        same(client.message().properties.UserProperty, given, "user properties")


@case("payload format, content type, response topic and correlation data come unchanged")
def passed_on(c):
    client = c.wire()
    client.subscribe((c.topic(), 2))
    given = {"PayloadFormatIndicator": 1, "ContentType": "text/ü", "ResponseTopic": c.topic("answer"), "CorrelationData": bytes(range(200))}
    for level in (0, 1, 2):
        client.publish(c.topic(), "ü", level, properties=given)
        if level == 2:
            client.acknowledge(PUBREL, client.find(PUBREC).id)
        same(client.message().properties, given, "properties")


@case("a request is answered at its response topic")
def request(c):
    asking, answering = c.paho("asking"), c.paho("answering")
    asking.subscribe((c.topic("answers"), 1))
    answering.subscribe((c.topic("questions"), 1))
    asking.publish(c.topic("questions"), "how high?", 1, ResponseTopic=c.topic("answers"), CorrelationData=b"\x00\x07")
    question = answering.message()
    answering.publish(question.properties.ResponseTopic, "3 m", 1, CorrelationData=question.properties.CorrelationData)
    answer = asking.message()
    same((answer.payload, answer.properties.CorrelationData), (b"3 m", b"\x00\x07"), "answer")


@case("a will has all of its properties, and nothing beside them")
def will(c):
    watcher = c.wire("watcher")
    watcher.subscribe((c.topic(), 1))
    given = {"PayloadFormatIndicator": 1, "ContentType": "text", "ResponseTopic": "a", "CorrelationData": b"c", "UserProperty": [("k", "v"), ("k", "w")]}
    c.wire("lost", will=(c.topic(), "gone", 1, False, given)).close()
    found = watcher.message()
    same((found.payload, found.properties), (b"gone", given), "will")


@case("a goodbye with the reason 4 brings the will")
def with_will(c):
    watcher = c.paho("watcher")
    watcher.subscribe((c.topic(), 1))
    c.wire("leaving", will=(c.topic(), "gone", 1, False, {})).disconnect(4)
    same(watcher.message().payload, b"gone", "will")


@case("a delayed will waits, and does not come when the client is back", long=True)
def delay(c):
    watcher = c.paho("watcher")
    watcher.subscribe((c.topic("#"), 1))
    session = {"SessionExpiryInterval": 60}
    started = time.monotonic()
    for name, seconds in (("lost", 2), ("back", 8)):
        c.wire(name, properties=session, will=(c.topic(name), "gone", 1, False, {"WillDelayInterval": seconds})).close()
    closed_back = time.monotonic()
    c.wire("back", clean=False, properties=session)
    found, took = watcher.message(), time.monotonic() - started
    same(found.topic, c.topic("lost"), "will")
    check(took >= 2.0, f"the will with a delay of 2 s came after {took:.1f} s")
    # Until the other would have come.
    rest(max(0, closed_back + 9 - time.monotonic()))
    watcher.nothing_before(watcher, c.topic("end"))


@case("a delayed will comes when its session ends", long=True)
def delay_ends(c):
    watcher = c.paho("watcher")
    watcher.subscribe((c.topic("#"), 1))
    c.wire("lost", properties={"SessionExpiryInterval": 1}, will=(c.topic(), "gone", 1, False, {"WillDelayInterval": 3_600})).close()
    same(watcher.message().payload, b"gone", "will")


@case("a message that waits too long expires, and others tell how long they have left", long=True)
def publication_expiry(c):
    client, publisher = c.kept(clean=True), c.paho("publisher")
    client.subscribe((c.topic("#"), 2))
    client.disconnect()
    for level in (1, 2):
        publisher.publish(c.topic("short"), "short", level, MessageExpiryInterval=1)
        publisher.publish(c.topic("long"), "long", level, MessageExpiryInterval=100)
    publisher.publish(c.topic("kept"), "short", 1, True, MessageExpiryInterval=1)
    publisher.publish(c.topic("kept/on"), "long", 1, True, MessageExpiryInterval=100)
    rest(3)
    back = c.kept()
    found = [back.message() for _ in range(3)]
    same([message.payload for message in found], [b"long"] * 3, "messages")
    for message in found:
        left = message.properties.get("MessageExpiryInterval")
        check(left is not None and 80 <= left <= 98, f"the message says {left} s of 100 s after 3 s")
    late = c.wire("late")
    late.subscribe((c.topic("kept/#"), 1))
    found = late.message()
    same(found.topic, c.topic("kept/on"), "retained")
    check(80 <= found.properties["MessageExpiryInterval"] <= 98, f"the retained one says {found.properties}")
    late.quiet()


@case("a session lives as long as it was asked to", long=True)
def session_expiry(c):
    c.wire("none", properties={"SessionExpiryInterval": 0}).close()
    c.wire("short", properties={"SessionExpiryInterval": 1}).close()
    c.wire("long", properties={"SessionExpiryInterval": 100}).close()
    c.wire("ever", properties={"SessionExpiryInterval": 0xFFFFFFFF}).close()
    c.wire("shortened", properties={"SessionExpiryInterval": 100}).disconnect(properties={"SessionExpiryInterval": 0})
    c.wire("prolonged", properties={"SessionExpiryInterval": 1}).disconnect(properties={"SessionExpiryInterval": 100})
    rest(4)
    found = {name: c.wire(name, clean=False).connack.present for name in ("none", "short", "long", "ever", "shortened", "prolonged")}
    same(found, {"none": False, "short": False, "long": True, "ever": True, "shortened": False, "prolonged": True}, "sessions")


@case("a session with a clean start and an expiry is kept, one without an expiry is not")
def inverted(c):
    c.wire("kept", clean=True, properties={"SessionExpiryInterval": 300}).close()
    # With a goodbye: the broker must not take the next one for somebody who takes over.
    c.wire("gone", clean=False).disconnect()
    check(c.wire("kept", clean=False).connack.present, "the session with an expiry is gone")
    check(not c.wire("gone", clean=False).connack.present, "the session without one is still there")


@case("a session that was to end cannot be prolonged at the end")
def prolong(c):
    client = c.wire(properties={"SessionExpiryInterval": 0})
    client.send(b"\xe0\x07\x00\x05\x11\x00\x00\x00\x64")
    client.ended()
    check(not c.wire(clean=False).connack.present, "the session is present")


@case("no local keeps a client's own messages away")
def no_local(c):
    client, other = c.paho(), c.paho("other")
    client.subscribe((c.topic(), SubscribeOptions(qos=1, noLocal=True)))
    client.publish(c.topic(), "own", 1)
    client.nothing_before(other, c.topic())


@case("retain as published keeps the flag")
def as_published(c):
    kept, plain, publisher = c.paho("kept"), c.paho("plain"), c.paho("publisher")
    kept.subscribe((c.topic(), SubscribeOptions(qos=1, retainAsPublished=True)))
    plain.subscribe((c.topic(), SubscribeOptions(qos=1)))
    for retain in (True, False):
        publisher.publish(c.topic(), "x", 1, retain)
        same((kept.message().retain, plain.message().retain), (retain, False), "flag")


@case("retain handling says when retained messages come")
def handling(c):
    client = c.paho()
    client.publish(c.topic(), "kept", 1, True)
    for handling, comes in ((1, True), (1, False), (2, False), (0, True)):
        client.subscribe((c.topic(), SubscribeOptions(qos=1, retainHandling=handling)))
        if comes:
            same(client.message().payload, b"kept", f"with handling {handling}")
        else:
            client.subscribe((c.topic("end"), 1))
            client.nothing_before(client, c.topic("end"))
            client.unsubscribe(c.topic("end"))


@case("subscription identifiers tell which subscriptions selected a message")
def identifiers(c):
    client = c.wire()
    client.subscribe((c.topic("a"), 1), properties={"SubscriptionIdentifier": 7})
    client.subscribe((c.topic("+"), 1), properties={"SubscriptionIdentifier": 268_435_455})
    client.subscribe((c.topic("none"), 1))
    client.published(c.topic("b"), "x", 1)
    same(client.message().properties.get("SubscriptionIdentifier"), [268_435_455], "of one")
    client.published(c.topic("a"), "x", 1)
    client.published(c.topic("none"), "end", 1)
    found = []
    while (message := client.message()).payload != b"end":
        found += message.properties.get("SubscriptionIdentifier", [])
    same(sorted(found), [7, 268_435_455], "of two")
    client.drain()
    client.subscribe((c.topic("a"), 1), properties={"SubscriptionIdentifier": 9})
    client.unsubscribe(c.topic("+"))
    client.published(c.topic("a"), "x", 1)
    same(client.message().properties.get("SubscriptionIdentifier"), [9], "after another subscribe")


@case("identifiers come with retained messages and over a reconnect")
def identifiers_kept(c):
    client = c.kept(clean=True)
    client.published(c.topic(), "kept", 1, True)
    client.subscribe((c.topic(), 1), properties={"SubscriptionIdentifier": 3})
    same(client.message().properties.get("SubscriptionIdentifier"), [3], "retained")
    client.close()
    c.wire("publisher").published(c.topic(), "x", 1)
    same(c.kept().message().properties.get("SubscriptionIdentifier"), [3], "after a reconnect")


@case("an alias of the client stands for its topic")
def client_alias(c):
    client = c.wire()
    most = client.connack.properties.get("TopicAliasMaximum", 0)
    check(most >= 1, "the broker takes no aliases")
    client.subscribe((c.topic("#"), 1))
    for name, alias, said in (("a", 1, True), ("b", most, True), ("a", 1, False), ("b", most, False), ("c", 1, True), ("c", 1, False)):
        client.publish(c.topic(name) if said else "", name, 1, properties={"TopicAlias": alias})
        found = client.message()
        same((found.topic, found.payload), (c.topic(name), name.encode()), "message")
        check("TopicAlias" not in found.properties, "the publisher's alias came with the message")
    again = c.wire("again")
    again.publish("", "x", 1, properties={"TopicAlias": 1})
    check(again.ended() in (None, 0x82, 0x94), "an alias of another connection was taken")


@case("an alias out of range ends the connection with a reason")
def bad_alias(c):
    most = c.wire().connack.properties.get("TopicAliasMaximum", 0)
    for name, alias in (("below", 0), ("above", most + 1)):
        client = c.wire(name)
        client.publish(c.topic(), "x", 1, properties=b"\x03\x23" + alias.to_bytes(2))
        check(client.ended() in (0x81, 0x82, 0x94), f"the reason for the alias {alias} {name} what is allowed")


@case("with aliases of the broker every message is told its own topic")
def broker_alias(c):
    client, publisher = c.wire(properties={"TopicAliasMaximum": 3}), c.wire("publisher")
    client.subscribe((c.topic("#"), 1), (c.topic("+"), 0))
    known = {}
    for number in range(40):
        name = c.topic(str(number * 7 % 5))
        publisher.published(name, name, 1)
    copies = 0
    while copies < 40:
        found = client.message()
        alias = found.properties.get("TopicAlias")
        if alias is not None:
            check(1 <= alias <= 3, f"the alias {alias} was not allowed")
            topic = known[alias] if not found.topic else known.setdefault(alias, found.topic)
            known[alias] = found.topic or topic
        topic = found.topic or known[alias]
        same(topic, found.payload.decode(), "topic")
        copies += found.qos == 1


@case("what is too large for a client is not sent to it")
def maximum_packet(c):
    client, publisher = c.wire(properties={"MaximumPacketSize": 64}), c.wire("publisher")
    client.subscribe((c.topic(), 2))
    for level in (0, 1, 2):
        publisher.published(c.topic(), "x" * 64, level)
        publisher.published(c.topic(), "x", level)
        same(client.message().payload, b"x", f"at {level}")
    publisher.published(c.topic(), "x" * (64 - 2 - 2 - len(c.topic()) - 1), 0)
    check(len(client.message().body) == 62, "a message of just the size did not come")
    client.quiet()


@case("a packet that is too large for the broker ends the connection with a reason")
def too_large(c):
    client = c.wire()
    most = client.connack.properties.get("MaximumPacketSize")
    if most is None:
        return
    client.send(bytes([0x30]) + b"\xff\xff\xff\x7f")
    same(client.ended(), 0x95, "the reason")


@case("no more is in flight than the client asked for")
def flow_out(c):
    client, publisher = c.wire(properties={"ReceiveMaximum": 5}), c.wire("publisher")
    client.subscribe((c.topic(), 2))
    for number in range(30):
        publisher.published(c.topic(), str(number), 1 + number % 2)
    publisher.published(c.topic(), "unlimited", 0)
    found = []
    while len(found) < 30:
        came = [packet for packet in client.drain() if packet.kind == PUBLISH and packet.qos]
        check(len(came) <= 5, f"{len(came)} messages were in flight")
        for message in came or [client.find(PUBLISH)]:
            if not message.qos:
                continue
            found.append(int(message.payload))
            client.acknowledge(PUBACK if message.qos == 1 else PUBREC, message.id)
            if message.qos == 2:
                client.find(PUBREL)
                client.acknowledge(PUBCOMP, message.id)
    same(found, list(range(30)), "messages")


@case("more in flight than the broker takes ends the connection with a reason")
def flow_in(c):
    client = c.wire()
    most = client.connack.properties.get("ReceiveMaximum", 65_535)
    for number in range(1, min(most + 1, 65_535) + 1):
        try:
            client.publish(c.topic(), "x", 2, number=number)
        except OSError:
            break
    if most < 65_535:
        same(client.ended(), 0x93, "the reason")
    else:
        client.send(b"\xc0\x00")
        client.find(PINGRESP)


@case("a keep-alive of the broker's own is told and kept to")
def server_keep_alive(c):
    client = c.wire(keep_alive=65_535)
    mine = client.connack.properties.get("ServerKeepAlive", 65_535)
    check(mine > 0, "a keep-alive of 0 would be none at all")
    client.quiet()


@case("members of a group share its messages, until they leave")
def shared(c):
    one, two, all_of_it = c.paho("one"), c.paho("two"), c.paho("all")
    for client in (one, two):
        same(client.subscribe((f"$share/g/{c.topic('#')}", 1)), [1], "granted")
    all_of_it.subscribe((c.topic("#"), 1))
    publisher = c.paho("publisher")
    for number in range(40):
        publisher.publish(c.topic(str(number % 5)), str(number), 1)
    same(sorted(map(int, all_of_it.payloads(40))), list(range(40)), "who shares nothing")
    found, until = [], time.monotonic() + PATIENCE
    while len(found) < 40 and time.monotonic() < until:
        for client in (one, two):
            while not client.messages.empty():
                found.append(client.message().payload)
        rest(0.01)
    same(sorted(map(int, found)), list(range(40)), "the group")
    one.unsubscribe(f"$share/g/{c.topic('#')}")
    for number in range(10):
        publisher.publish(c.topic(), str(number), 1)
    same(two.payloads(10), [str(number) for number in range(10)], "who is left")


@case("a member of a group that is lost with messages unacknowledged does no harm")
def shared_lost(c):
    lost, other = c.kept("lost", clean=True), c.paho("other")
    lost.subscribe((f"$share/g/{c.topic()}", 1))
    c.wire("publisher").published(c.topic(), "in flight", 1)
    lost.expect(PUBLISH)
    lost.close()
    other.subscribe((c.topic("after"), 1))
    other.publish(c.topic("after"), "x", 1)
    same(other.message().payload, b"x", "message")
    back = c.kept("lost")
    same(back.message().payload, b"in flight", "message")


@case("a group gets no retained messages and may not ask for no local")
def shared_rules(c):
    client = c.wire()
    client.published(c.topic(), "kept", 1, True)
    client.subscribe((f"$share/g/{c.topic()}", 1))
    client.quiet()
    client = c.wire("local")
    client.send(b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x05")
    same(client.ended(), 0x82, "the reason")


@case("a reserved reason, property or flag of a client ends the connection")
def reserved(c):
    for name, raw in (("property", b"\x30\x08\x00\x01a\x03\x7f\x00\x00x"), ("twice", b"\x30\x09\x00\x01a\x04\x01\x01\x01\x01x"), ("flag", b"\xc1\x00")):
        client = c.wire(name)
        client.send(raw)
        check(client.ended() in (None, 0x81, 0x82), f"the reason for a {name}")
