// MQTT.js with the defaults that it comes with, and those of Node-RED (keep-alive of 60 s, a clean session, reconnecting): subscribes to
// everything below a topic and to $SYS, publishes at every level, is cut off and comes back. Prints `ok`, or what went wrong.
//
//     client.js {"url", "version": 4 | 5, "topic", "ca": FILE | null}

'use strict'

const fs = require('fs')
const mqtt = require('mqtt')

const given = JSON.parse(process.argv[2])
const options = {
  protocolVersion: given.version,
  keepalive: 60,
  reconnectPeriod: 100,
  ...(given.ca ? { ca: fs.readFileSync(given.ca) } : {}),
}
const client = mqtt.connect(given.url, options)
const waiting = []
const arrived = []

const fail = (why) => {
  console.log(String(why && why.message ? why.message : why))
  process.exit(1)
}
setTimeout(() => fail('not done in time'), 30000).unref()
client.on('error', fail)
client.on('message', (topic, payload, packet) => {
  if (!topic.startsWith(given.topic)) return
  const message = { topic, payload, qos: packet.qos, properties: packet.properties }
  const next = waiting.shift()
  if (next) next(message)
  else arrived.push(message)
})
const message = () => (arrived.length ? Promise.resolve(arrived.shift()) : new Promise((found) => waiting.push(found)))
let completed = 0
const completions = []
client.on('packetsend', (packet) => {
  if (packet.cmd === 'pubcomp') completed += 1
  completions.forEach((look) => look())
})
const complete = (count) => new Promise((done) => {
  const look = () => completed >= count && done()
  completions.push(look)
  look()
})
const connected = () => new Promise((done) => client.once('connect', done))

const main = async () => {
  await connected()
  await client.subscribeAsync({ [given.topic + '/#']: { qos: 2 }, '$SYS/#': { qos: 0 } })
  for (const qos of [0, 1, 2]) {
    for (const size of [3, 200000]) {
      const properties = given.version === 5 ? { userProperties: { key: ['a', 'b'] } } : undefined
      await client.publishAsync(`${given.topic}/${qos}`, 'x'.repeat(size), { qos, properties })
      const found = await message()
      if (found.payload.length !== size || found.qos !== qos || found.topic !== `${given.topic}/${qos}`) fail(`${found.topic} at ${found.qos}`)
      if (properties && JSON.stringify(found.properties.userProperties) !== '{"key":["a","b"]}') fail(JSON.stringify(found.properties))
    }
  }
  await complete(2)
  // A broken line: the client comes back by itself, subscribes again, and goes on.
  const back = connected()
  client.stream.destroy()
  await back
  await client.subscribeAsync(given.topic + '/#', { qos: 1 })
  await client.publishAsync(given.topic + '/back', 'again', { qos: 1 })
  const found = await message()
  if (found.payload.toString() !== 'again') fail(found.payload)
  await client.endAsync()
  console.log('ok')
  process.exit(0)
}

main().catch(fail)
