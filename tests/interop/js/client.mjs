// One npm mqtt client, driven line by line. The first line on standard input says how to connect, each further one
// what to do next: {"do": "subscribe" | "publish" | "renew" | "drop" | "end", ...}. What happens is printed as JSON lines.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const tell = (event, facts = {}) => console.log(JSON.stringify({ event, ...facts }));
const told = (packet) => ({ code: packet?.reasonCode ?? packet?.returnCode, properties: packet?.properties });
const failed = (error) => ({ message: error.message, code: error.code });
const answered = (event) => (error, packet) =>
  error ? tell(`${event} refused`, failed(error)) : tell(event, told(packet));

function connect({ options, files, will }) {
  const proof = options.properties?.authenticationData;
  if (proof) options.properties.authenticationData = Buffer.from(proof);
  for (const [name, path] of Object.entries(files)) options[name] = readFileSync(path);
  const client = mqtt.connect({ protocol: "mqtts", reconnectPeriod: 0, connectTimeout: 8000, ...options, will });
  client.on("connect", (connack) => tell("connected", { ...told(connack), sessionPresent: connack.sessionPresent }));
  client.on("message", (topic, payload, { qos, retain, properties }) =>
    tell("message", { topic, payload: payload.toString(), qos, retain, properties }));
  client.on("packetreceive", (packet) => {
    if (["connack", "puback", "pubrec", "suback", "disconnect"].includes(packet.cmd)) {
      tell(packet.cmd, { code: told(packet).code, granted: packet.granted, properties: packet.properties });
    }
  });
  client.handleAuth = (packet, answer) => {
    tell("auth", told(packet));
    answer();
  };
  client.on("error", (error) => tell("error", failed(error)));
  client.on("close", () => tell("closed"));
  return client;
}

const actions = {
  subscribe: (client, { topic, options }) =>
    client.subscribe(topic, options, (error, granted) =>
      error ? tell("subscribe refused", failed(error)) : tell("subscribed", { granted: granted.map(({ qos }) => qos) })),
  publish: (client, { topic, payload, options }) => client.publish(topic, payload, options, answered("published")),
  // There is no public call that begins a re-authentication; this one is what the library answers an AUTH with.
  renew: (client, { method, data }) =>
    client._sendPacket({
      cmd: "auth",
      reasonCode: 0x19,
      properties: { authenticationMethod: method, authenticationData: Buffer.from(data) },
    }),
  drop: (client) => client.stream.destroy(),
  end: (client) => client.end(false, {}, () => tell("ended")),
};

// Binary data comes as the object that JSON makes of a Buffer.
const revived = (_name, value) => (value?.type === "Buffer" ? Buffer.from(value.data) : value);

let client;
for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line, revived);
  if (client) actions[step.do](client, step);
  else client = connect(step);
}
client?.end(true);
