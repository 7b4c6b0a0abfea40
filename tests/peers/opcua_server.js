// An OPC UA server made of node-opcua: the same plant, arguments and commands as `opcua_server.py`, which describes them.

const path = require("path");
const readline = require("readline");
const { ensureDatatypeExtracted } = require("node-opcua-address-space");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { LocalizedText } = require("node-opcua-data-model");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUAServer } = require("node-opcua-server");
const { StatusCodes } = require("node-opcua-status-code");
const { DataType, VariantArrayType } = require("node-opcua-variant");

const URI = "urn:tidegate:tests:plant";

function given() {
  const found = { items: 0, padding: 0, every: 200, flags: new Set() };
  const words = process.argv.slice(2);
  while (words.length > 0) {
    const word = words.shift().slice(2);
    if (word.startsWith("no-")) found.flags.add(word);
    else if (word === "folder") found.folder = words.shift();
    else found[word] = Number(words.shift());
  }
  return found;
}

class Plant {
  constructor(server, options) {
    this.addressSpace = server.engine.addressSpace;
    this.calls = 0;
    this.moved = 0;
    this.nodes = {};
    this.items = [];
    for (let number = 0; number < options.padding; number++) {
      this.addressSpace.registerNamespace(`urn:tidegate:tests:padding:${number}`);
    }
    this.namespace = this.addressSpace.registerNamespace(URI);
    this.plant = this.namespace.addObject({
      organizedBy: this.addressSpace.rootFolder.objects,
      browseName: "Plant",
      nodeId: "s=Plant",
      eventNotifier: 1,
      eventSourceOf: this.addressSpace.rootFolder.objects.server,
    });
    for (let number = 0; number < options.items; number++) {
      this.items.push(this.add(`T${number}`, "Double", 0));
    }
    const written = { accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite" };
    this.add("Switch", "Boolean", false, written);
    this.add("Count", "Int32", 0, written);
    this.add("Big", "UInt64", [0x80000000, 0], written);
    this.add("Small", "Byte", 7, written);
    this.add("Text", "String", "tide", written);
    this.add("Label", "LocalizedText", new LocalizedText({ text: "Pumpe läuft", locale: "de" }));
    this.add("Time", "DateTime", new Date("2026-05-04T03:02:01.500Z"));
    this.add("Raw", "ByteString", Buffer.from([0, 255, 16]));
    this.add("Long", "Double", Float64Array.from({ length: 1500 }, (_, number) => number), { valueRank: 1, arrayDimensions: [1500] });
    this.hist = this.add("Hist", "Double", 0);
    this.addressSpace.installHistoricalDataNode(this.hist, { maxOnlineValues: 10000 });
    this.addSetpoint();
    this.addMethod();
    this.addAlarm();
  }

  add(name, dataType, value, more = {}) {
    const isArray = ArrayBuffer.isView(value) && !Buffer.isBuffer(value);
    const arrayType = isArray ? VariantArrayType.Array : VariantArrayType.Scalar;
    const node = this.namespace.addVariable({
      componentOf: this.plant, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 50,
      value: { dataType, arrayType, value }, ...more,
    });
    this.nodes[name] = node;
    return node;
  }

  addSetpoint() {
    this.nodes.Setpoint = this.namespace.addAnalogDataItem({
      componentOf: this.plant, browseName: "Setpoint", nodeId: "s=Setpoint", dataType: "Double",
      description: "Temperature wanted", minimumSamplingInterval: 50,
      engineeringUnitsRange: { low: -50, high: 150 },
      engineeringUnits: {
        namespaceUri: "http://www.opcfoundation.org/UA/units/un/cefact", unitId: 4408652,
        displayName: { text: "°C" }, description: { text: "degree Celsius" },
      },
      value: { dataType: "Double", value: 20 },
    });
  }

  // Data types of our own: an enumeration and a structure.
  async addTyped() {
    const mode = this.namespace.addEnumerationType({ browseName: "PlantMode", enumeration: ["Off", "Auto", "Manual"] });
    this.add("Mode", "Int32", 1, {
      dataType: mode, accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite",
    });
    const double = DataType.Double, string = DataType.String;
    this.positionType = this.namespace.createDataType({
      browseName: "PlantPosition", isAbstract: false, subtypeOf: "Structure",
      partialDefinition: [
        { name: "x", dataType: double, valueRank: -1 },
        { name: "y", dataType: double, valueRank: -1 },
        { name: "name", dataType: string, valueRank: -1 },
      ],
    });
    for (const [encoding, id] of [["Default Binary", "PlantPosition.Binary"], ["Default XML", "PlantPosition.Xml"]]) {
      this.namespace.addObject({
        browseName: { name: encoding, namespaceIndex: 0 }, encodingOf: this.positionType,
        nodeId: `s=${id}`, typeDefinition: "DataTypeEncodingType",
      });
    }
    // What the server knew of data types before this one was made is found out again.
    this.addressSpace.$$extraDataTypeManager = undefined;
    await ensureDatatypeExtracted(this.addressSpace);
    this.add("Position", "ExtensionObject", this.position({ x: 1.5, y: -2.5, name: "dock" }), {
      dataType: this.positionType,
    });
  }

  position(fields) {
    return this.addressSpace.constructExtensionObject(this.positionType, fields);
  }

  addMethod() {
    const number = (name) => ({ name, dataType: DataType.Int32 });
    const method = this.namespace.addMethod(this.plant, {
      browseName: "Add", nodeId: "s=Add",
      inputArguments: [number("first"), number("second")], outputArguments: [number("sum")],
    });
    method.bindMethod((inputs, _context, done) => {
      this.calls++;
      const value = inputs[0].value + inputs[1].value;
      done(null, { statusCode: StatusCodes.Good, outputArguments: [{ dataType: DataType.Int32, value }] });
    });
  }

  addAlarm() {
    const tooHigh = this.add("TooHigh", "Boolean", false);
    this.alarm = this.namespace.instantiateOffNormalAlarm({
      browseName: "Level", conditionName: "Level", conditionSource: this.plant, inputNode: tooHigh, normalState: null,
      nodeId: "s=Level",
    });
  }

  // A tenth of the items changes; all of them in ten steps.
  move() {
    this.moved++;
    for (let number = this.moved % 10; number < this.items.length; number += 10) {
      this.items[number].setValueFromSource({ dataType: "Double", value: this.moved + number / 10000 });
    }
    this.hist.setValueFromSource({ dataType: "Double", value: this.moved });
  }

  command(line) {
    const [verb, name, ...words] = line.split(" ");
    const rest = words.join(" ");
    const node = this.nodes[name];
    switch (verb) {
      case "calls":
        return this.calls;
      case "get":
        return JSON.stringify(node.readValue().value.value);
      case "set": {
        const { dataType, arrayType } = node.readValue().value;
        const parsed = JSON.parse(rest);
        const value = name === "Position" ? this.position(parsed) : arrayType === VariantArrayType.Array ? Float64Array.from(parsed) : parsed;
        node.setValueFromSource({ dataType, arrayType, value });
        return "";
      }
      case "status":
        node.setValueFromSource(node.readValue().value, StatusCodes[rest]);
        return "";
      case "remove":
        this.items = this.items.filter((item) => item !== node);
        this.addressSpace.deleteNode(node);
        return "";
      case "event":
        this.plant.raiseEvent("BaseEventType", {
          severity: { dataType: "UInt16", value: Number(name) },
          message: { dataType: "LocalizedText", value: { text: rest } },
        });
        return "";
      case "alarm":
        return this.trigger(name === "on", Number(words[0]), words.slice(1).join(" "));
      default:
        throw new Error(`no command ${verb}`);
    }
  }

  trigger(on, severity, message) {
    if (on) {
      this.alarm.activateAlarm(severity, message);
    } else {
      this.alarm.deactivateAlarm(false);
    }
    this.alarm.raiseNewCondition({ severity, message, quality: StatusCodes.Good, retain: on });
    return "";
  }
}

async function main() {
  const options = given();
  const policies = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"];
  const secure = !options.flags.has("no-security");
  const manager = (name) => new OPCUACertificateManager({
    automaticallyAcceptUnknownCertificate: true, rootFolder: path.join(options.folder, name), disableFileWatchers: true,
  });
  const server = new OPCUAServer({
    port: options.port, host: "127.0.0.1", hostname: "127.0.0.1", resourcePath: "/plant",
    serverInfo: { applicationUri: "urn:tidegate:tests:node-opcua" },
    allowAnonymous: !options.flags.has("no-anonymous"),
    userManager: { isValidUser: (name, password) => name === "op" && password === "secret" },
    securityPolicies: [SecurityPolicy.None, ...(secure ? policies.map((name) => SecurityPolicy[name]) : [])],
    securityModes: secure
      ? [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt]
      : [MessageSecurityMode.None],
    serverCertificateManager: manager("server"),
    userCertificateManager: manager("users"),
    maxConnectionsPerEndpoint: 50,
    serverCapabilities: { maxSessions: 50 },
  });
  await server.initialize();
  const plant = new Plant(server, options);
  await plant.addTyped();
  await server.start();
  console.log("ready");
  if (options.every > 0) setInterval(() => plant.move(), options.every);

  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    try {
      console.log(`ok ${plant.command(line)}`);
    } catch (error) {
      console.log(`error ${error.message}`);
    }
  });
  // The test that started this has ended.
  lines.on("close", () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
