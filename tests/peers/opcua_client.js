// An OPC UA client made of node-opcua: the same arguments and commands as `opcua_client.py`, which describes them.

const path = require("path");
const readline = require("readline");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const {
  AttributeIds, ClientMonitoredItemGroup, DataType, OPCUAClient, TimestampsToReturn, UserTokenType,
} = require("node-opcua-client");
const { AggregateFunction } = require("node-opcua-constants");
const { NodeClass } = require("node-opcua-data-model");
const { constructEventFilter } = require("node-opcua-service-filter");
const { DeadbandType } = require("node-opcua-service-subscription");
const { DataChangeFilter, DataChangeTrigger } = require("node-opcua-types");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");

function given() {
  const found = { mode: "SignAndEncrypt" };
  const words = process.argv.slice(2);
  while (words.length > 0) found[words.shift().slice(2)] = words.shift();
  return found;
}

// A value as JSON has it; 64-bit integers are pairs here.
function plain(value) {
  const inner = value.value?.value;
  if (inner?.text !== undefined) return inner.text;
  if (ArrayBuffer.isView(inner)) return Array.from(inner);
  if (value.value?.dataType === DataType.UInt64 || value.value?.dataType === DataType.Int64) {
    return Number((BigInt(inner[0]) << 32n) + BigInt(inner[1]));
  }
  return inner ?? null;
}

// The name of a status code without its information bits (a queue that ran over).
function nameOf(status) {
  return status.name.split("#")[0];
}

const FRAMES = { "ns=0;i=2787": "start", "ns=0;i=2788": "end" };

class Station {
  constructor(options) {
    this.options = options;
    this.nodes = new Map();
    this.seen = {};
    this.total = 0;
    this.ages = [];
    this.alarms = [];
    this.frames = [];
  }

  async session() {
    const { options } = this;
    const manager = new OPCUACertificateManager({
      rootFolder: path.join(options.folder, "client"), automaticallyAcceptUnknownCertificate: true, disableFileWatchers: true,
    });
    await manager.initialize();
    const client = OPCUAClient.create({
      applicationUri: "urn:tidegate:tests:node-opcua-client",
      clientCertificateManager: manager,
      endpointMustExist: false,
      connectionStrategy: { maxRetry: 0 },
      securityPolicy: options.policy ? SecurityPolicy[options.policy] : SecurityPolicy.None,
      securityMode: options.policy ? MessageSecurityMode[options.mode] : MessageSecurityMode.None,
    });
    await client.connect(options.url);
    const user = options.user
      ? { type: UserTokenType.UserName, userName: options.user, password: options.password }
      : { type: UserTokenType.Anonymous };
    return client.createSession(user);
  }

  async walk(node, before) {
    let result = await this.main.browse({
      nodeId: node, referenceTypeId: "HierarchicalReferences", includeSubtypes: true, browseDirection: 0, resultMask: 63,
    });
    const references = [...result.references];
    while (result.continuationPoint?.length) {
      result = await this.main.browseNext(result.continuationPoint, false);
      references.push(...result.references);
    }
    for (const { nodeId, browseName, nodeClass } of references) {
      if (nodeId.namespace === 0) continue;
      const name = before ? `${before}/${browseName.name}` : browseName.name;
      if (nodeClass === NodeClass.Variable || nodeClass === NodeClass.Method) this.nodes.set(name, nodeId);
      if (nodeClass === NodeClass.Object) await this.walk(nodeId, name);
    }
  }

  async findAll() {
    if (this.nodes.size === 0) await this.walk("ObjectsFolder", "");
  }

  async find(name) {
    await this.findAll();
    if (!this.nodes.has(name)) throw new Error(`no ${name}`);
    return this.nodes.get(name);
  }

  async read(name) {
    const nodeId = await this.find(name);
    const value = await this.main.read({ nodeId, attributeId: AttributeIds.Value }, 0);
    const answer = {
      value: plain(value), status: nameOf(value.statusCode), times: Boolean(value.sourceTimestamp && value.serverTimestamp),
    };
    const properties = await this.main.browse({ nodeId, referenceTypeId: "HasProperty", browseDirection: 0, resultMask: 63 });
    for (const property of properties.references) {
      const held = await this.main.read({ nodeId: property.nodeId, attributeId: AttributeIds.Value });
      if (property.browseName.name === "EURange") answer.range = [held.value.value.low, held.value.value.high];
      if (property.browseName.name === "EngineeringUnits") answer.unit = held.value.value.displayName.text;
    }
    return answer;
  }

  async write(name, value) {
    const nodeId = await this.find(name);
    const dataType = await this.main.getBuiltInDataType(nodeId);
    const status = await this.main.write({ nodeId, attributeId: AttributeIds.Value, value: { value: { dataType, value } } });
    return status.name;
  }

  async subscribe(names) {
    await this.findAll();
    const chosen = names.length > 0 ? names : [...this.nodes.keys()];
    const nodes = [];
    for (const name of chosen) nodes.push(await this.find(name));
    return this.monitor(this.main, nodes, 100, (index, value) => {
      const [count] = this.seen[chosen[index]] ?? [0];
      this.seen[chosen[index]] = [count + 1, plain(value), nameOf(value.statusCode)];
    });
  }

  // How many of the items the server took.
  async monitor(session, nodes, interval, notified) {
    const subscription = await session.createSubscription2({
      requestedPublishingInterval: interval, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 20,
      maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
    });
    let taken = 0;
    for (let first = 0; first < nodes.length; first += 1000) {
      const part = nodes.slice(first, first + 1000).map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value }));
      const group = ClientMonitoredItemGroup.create(
        subscription, part, { samplingInterval: interval, discardOldest: true, queueSize: 1 }, TimestampsToReturn.Both,
      );
      group.on("changed", (_item, value, index) => notified(first + index, value));
      await new Promise((resolve, reject) => {
        group.on("initialized", resolve);
        group.on("err", reject);
      });
      taken += group.monitoredItems.filter((item) => item.statusCode?.isGood?.()).length;
    }
    return taken;
  }

  async history(name) {
    const nodeId = await this.find(name);
    const now = Date.now();
    const result = await this.main.readHistoryValue(nodeId, new Date(now - 3_600_000), new Date(now + 5_000));
    return result.historyData.dataValues.map(plain);
  }

  async subscription() {
    return this.main.createSubscription2({
      requestedPublishingInterval: 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 20,
      maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
    });
  }

  async deadband(name, number) {
    const nodeId = await this.find(name);
    const filter = new DataChangeFilter({
      trigger: DataChangeTrigger.StatusValue, deadbandType: DeadbandType.Absolute, deadbandValue: number,
    });
    const item = await (await this.subscription()).monitor(
      { nodeId, attributeId: AttributeIds.Value }, { samplingInterval: 0, discardOldest: true, queueSize: 10, filter },
      TimestampsToReturn.Both,
    );
    item.on("changed", (value) => {
      const [count] = this.seen[`${name}#deadband`] ?? [0];
      this.seen[`${name}#deadband`] = [count + 1, plain(value), nameOf(value.statusCode)];
    });
    return 1;
  }

  async processed(name, aggregates) {
    const nodeId = await this.find(name);
    const now = Date.now();
    const results = await this.main.readAggregateValue(
      aggregates.map(() => ({ nodeId })), new Date(now - 3_600_000), new Date(now + 5_000),
      aggregates.map((aggregate) => AggregateFunction[aggregate]), 0,
    );
    return results.map((result) => plain(result.historyData.dataValues[0]));
  }

  async listen() {
    const fields = ["EventType", "ConditionName", "ActiveState.Id", "Severity", "Message", "SourceName"];
    this.listening = await this.subscription();
    const item = await this.listening.monitor(
      { nodeId: "i=2253", attributeId: AttributeIds.EventNotifier },
      { samplingInterval: 0, discardOldest: true, queueSize: 100, filter: constructEventFilter(fields) },
      TimestampsToReturn.Both,
    );
    item.on("changed", (values) => {
      const [kind, name, active, severity, message, source] = values.map((value) => value.value);
      const frame = FRAMES[kind?.toString()];
      if (frame) {
        this.frames.push(frame);
        return;
      }
      this.alarms.push({ name, active, severity, message: message?.text ?? null, source });
    });
    return 1;
  }

  async refresh() {
    const subscription = { dataType: DataType.UInt32, value: this.listening.subscriptionId };
    const call = { objectId: "i=2782", methodId: "i=3875", inputArguments: [subscription] };
    const result = await this.main.call(call);
    if (!result.statusCode.isGood()) throw new Error(nameOf(result.statusCode));
    return 1;
  }

  async many(count, sessions, uri) {
    let made = 0;
    for (let number = 0; number < sessions; number++) {
      const session = await this.session();
      const index = (await session.readNamespaceArray()).indexOf(uri);
      const nodes = [];
      for (let item = 0; item < count; item++) {
        nodes.push(`ns=${index};s=t${String(item).padStart(4, "0")}`);
      }
      made += await this.monitor(session, nodes, 1000, (_index, value) => {
        this.total++;
        if (this.total % 100 === 0 && value.sourceTimestamp) this.ages.push(Date.now() - value.sourceTimestamp.getTime());
      });
    }
    return made;
  }

  takeTotal() {
    const ages = this.ages.sort((a, b) => a - b);
    const answer = { total: this.total };
    if (ages.length > 0) {
      answer.p50 = ages[Math.floor(ages.length / 2)];
      answer.p99 = ages[Math.floor((ages.length * 99) / 100)];
    }
    this.total = 0;
    this.ages = [];
    return answer;
  }

  async command(line) {
    const [verb, ...words] = line.split(" ");
    switch (verb) {
      case "browse":
        await this.findAll();
        return Object.fromEntries([...this.nodes].map(([name, nodeId]) => [name, nodeId.toString()]));
      case "read":
        return this.read(words[0]);
      case "write":
        return this.write(words[0], JSON.parse(words.slice(1).join(" ")));
      case "subscribe":
        return this.subscribe(words);
      case "count":
        return this.seen;
      case "history":
        return this.history(words[0]);
      case "deadband":
        return this.deadband(words[0], Number(words[1]));
      case "processed":
        return this.processed(words[0], words.slice(1));
      case "listen":
        return this.listen();
      case "alarms":
        return this.alarms;
      case "refresh":
        return this.refresh();
      case "frames":
        return this.frames;
      case "many":
        return this.many(Number(words[0]), Number(words[1]), words[2]);
      case "total":
        return this.takeTotal();
      default:
        throw new Error(`no command ${verb}`);
    }
  }
}

async function main() {
  const station = new Station(given());
  try {
    station.main = await station.session();
  } catch (error) {
    console.log(`refused ${error.message.replaceAll("\n", " ")}`);
    process.exit(0);
  }
  console.log("ready");
  const lines = readline.createInterface({ input: process.stdin });
  for await (const line of lines) {
    try {
      console.log(`ok ${JSON.stringify(await station.command(line))}`);
    } catch (error) {
      console.log(`error ${error.message.replaceAll("\n", " ")}`);
    }
  }
  process.exit(0);
}

main();
