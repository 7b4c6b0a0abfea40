"""Programs and libraries that others wrote, with the settings that they come with."""

import asyncio
import json
import os
import subprocess

import aiomqtt
import gmqtt

from rig import Skipped, case, check, same
from wire import PATIENCE, Failure

HERE = os.path.dirname(os.path.abspath(__file__))


def program(c, name, *arguments, port=None):
    """A program of mosquitto-clients, to its end; returns what it wrote."""
    folder = c.place.bin
    if not folder:
        raise Skipped("no folder with mosquitto_pub was given")
    command = [os.path.join(folder, name), "-h", c.place.host, "-p", str(port or c.place.port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise Failure(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def tls(c):
    if not c.place.tls:
        raise Skipped("no listener with TLS was given")
    return c.place.tls


@case("mosquitto_pub is heard by mosquitto_sub", ("mqttv311", "mqttv5"))
def mosquitto(c, version):
    for level in ("0", "1", "2"):
        program(c, "mosquitto_pub", "-V", version, "-t", c.topic(level), "-m", f"at {level}", "-q", level, "-r")
    found = program(c, "mosquitto_sub", "-V", version, "-t", c.topic("#"), "-q", "2", "-C", "3", "-F", "%t %p %q %r")
    same(sorted(found.splitlines()), [f"{c.topic(level)} at {level} {level} 1" for level in "012"], "lines")


@case("mosquitto_rr gets the answer to its request")
def request(c):
    answering = c.paho("answering")
    answering.subscribe((c.topic("question"), 1))

    def answer(client, _data, question):
        client.publish(question.properties.ResponseTopic, "3 m", 1)

    answering.client.on_message = answer
    found = program(c, "mosquitto_rr", "-V", "mqttv5", "-t", c.topic("question"), "-e", c.topic("answer"), "-m", "how high?", "-W", "15")
    same(found.strip(), "3 m", "answer")


@case("mosquitto_sub comes in over TLS")
def mosquitto_tls(c):
    port, secured = tls(c), ["--cafile", c.place.ca]
    program(c, "mosquitto_pub", *secured, "-t", c.topic(), "-m", "sealed", "-q", "1", "-r", port=port)
    same(program(c, "mosquitto_sub", *secured, "-t", c.topic(), "-C", "1", "-q", "1", port=port).strip(), "sealed", "message")


@case("mosquitto_sub logs in as a user")
def mosquitto_user(c):
    user = c.as_user("limited")
    login = ["-u", user["login"][0], "-P", user["login"][1]]
    program(c, "mosquitto_pub", *login, "-t", c.open("x"), "-m", "let in", "-q", "1", "-r", port=user["port"])
    same(program(c, "mosquitto_sub", *login, "-t", c.open("x"), "-C", "1", "-q", "1", port=user["port"]).strip(), "let in", "message")


@case("Paho comes in over TLS")
def paho_tls(c):
    client = c.paho(port=tls(c), tls={"ca_certs": c.place.ca})
    client.subscribe((c.topic(), 1))
    client.publish(c.topic(), "x" * 100_000, 1)
    same(len(client.message().payload), 100_000, "bytes")


@case("Paho comes in over WebSocket", (4, 5))
def paho_websocket(c, version):
    if not c.place.websocket:
        raise Skipped("no listener with WebSocket was given")
    client = c.paho(version=version, port=c.place.websocket, path="/mqtt")
    client.subscribe((c.topic(), 2))
    for level in (0, 1, 2):
        client.publish(c.topic(), "x" * 70_000, level)
        same(len(client.message().payload), 70_000, "bytes")


@case("gmqtt talks to itself at every level")
def gmqtt_talks(c):
    async def talk():
        client, found = gmqtt.Client(c.id()), asyncio.Queue()
        client.on_message = lambda _client, topic, payload, level, more: found.put_nowait((topic, payload, level, more.get("user_property"))) or 0
        granted = asyncio.Event()
        client.on_subscribe = lambda *_: granted.set()
        await client.connect(c.place.host, c.place.port, version=gmqtt.constants.MQTTv50)
        client.subscribe(c.topic("#"), qos=2)
        await granted.wait()
        for level in (0, 1, 2):
            client.publish(c.topic(str(level)), f"at {level}", qos=level, user_property=("k", "v"))
            topic, payload, _, more = await found.get()
            same((topic, payload, more), (c.topic(str(level)), f"at {level}".encode(), [("k", "v")]), "message")
        await client.disconnect()

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


@case("aiomqtt talks to itself at every level")
def aiomqtt_talks(c):
    async def talk():
        async with aiomqtt.Client(c.place.host, c.place.port, identifier=c.id()) as client:
            await client.subscribe(c.topic("#"), qos=2)
            for level in (0, 1, 2):
                await client.publish(c.topic(str(level)), f"at {level}", qos=level)
                async for message in client.messages:
                    same((str(message.topic), message.payload), (c.topic(str(level)), f"at {level}".encode()), "message")
                    break

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def javascript(c, scheme, port, version):
    if not port:
        raise Skipped(f"no listener for {scheme} was given")
    path = "/mqtt" if scheme in ("ws", "wss") else ""
    given = {"url": f"{scheme}://{'localhost' if c.place.ca else c.place.host}:{port}{path}", "version": version, "topic": c.topic(), "ca": c.place.ca}
    command = [c.place.node, os.path.join(HERE, "client.js"), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)
    check(done.returncode == 0 and done.stdout.strip() == "ok", f"MQTT.js says {done.stdout.strip()} {done.stderr.strip()[-300:]}")


@case("MQTT.js, with which Node-RED and MQTT Explorer are made, comes in over TCP", (4, 5))
def javascript_tcp(c, version):
    javascript(c, "mqtt", c.place.port, version)


@case("MQTT.js comes in over WebSocket, as from a page", (4, 5))
def javascript_websocket(c, version):
    javascript(c, "ws", c.place.websocket, version)


@case("MQTT.js comes in over TLS", (4, 5))
def javascript_tls(c, version):
    javascript(c, "mqtts", c.place.tls, version)


@case("MQTT.js comes in over WebSocket and TLS", (4, 5))
def javascript_secure(c, version):
    javascript(c, "wss", c.place.tls_websocket, version)
