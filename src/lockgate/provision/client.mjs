// Connects the device of this folder by SCRAM-SHA-256 (MQTT 5.0 section 4.12, RFC 5802, RFC 7677). Needs npm's mqtt, 5 or later.
//
//     node client.mjs subscribe TOPIC
//     node client.mjs publish TOPIC MESSAGE
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import mqtt from "mqtt";

const METHOD = "SCRAM-SHA-256";
const read = (name) => readFileSync(new URL(name, import.meta.url));
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const attributes = (text) => Object.fromEntries(text.split(",").map((part) => [part[0], part.slice(2)]));

// The client's side of one exchange: `first` begins it, `final` answers the hub's challenge, `check` its last word.
function scram(user, password) {
  const bare = `n=${user},r=${randomBytes(24).toString("base64")}`;
  let expected;
  return {
    first: Buffer.from(`n,,${bare}`),
    final(challenge) {
      const { r, s, i } = attributes(challenge);
      if (!r.startsWith(bare.slice(bare.indexOf(",r=") + 3)) || !(Number(i) >= 4096 && Number(i) <= 1_000_000)) {
        throw new Error("the hub's challenge cannot be used");
      }
      const salted = pbkdf2Sync(password, Buffer.from(s, "base64"), Number(i), 32, "sha256");
      const key = hmac(salted, "Client Key");
      const message = `${bare},${challenge},c=biws,r=${r}`;
      const signature = hmac(createHash("sha256").update(key).digest(), message);
      expected = hmac(hmac(salted, "Server Key"), message);
      return Buffer.from(`c=biws,r=${r},p=${key.map((byte, at) => byte ^ signature[at]).toString("base64")}`);
    },
    check(verdict) {
      const shown = Buffer.from(attributes(verdict).v ?? "", "base64");
      if (!expected || shown.length !== expected.length || !timingSafeEqual(shown, expected)) {
        throw new Error("the hub does not know this device: it is not the one that registered it");
      }
    },
  };
}

export function connect(suffix = "", options = {}) {
  const device = JSON.parse(read("device.json"));
  const exchange = scram(device.name, read(device.password_file).toString());
  const client = mqtt.connect({
    protocol: "mqtts", host: device.host, port: device.port, ca: read(device.ca_file), protocolVersion: 5,
    clientId: device.client_id + suffix, reconnectPeriod: 0,
    properties: { authenticationMethod: METHOD, authenticationData: exchange.first },
    ...options,
  });
  client.handleAuth = ({ properties }, answer) => {
    try {
      const data = exchange.final(properties.authenticationData.toString());
      answer(null, { cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: METHOD, authenticationData: data } });
    } catch (error) {
      answer(error);
    }
  };
  client.prependListener("connect", ({ properties }) => {
    try {
      exchange.check(properties.authenticationData.toString());
    } catch (error) {
      client.end(true);
      client.emit("error", error);
    }
  });
  return client;
}

function main([action, topic, message]) {
  const client = connect(action === "subscribe" ? "/sub" : "");
  const fail = (error) => {
    console.error(error.message);
    process.exitCode = 1;
    client.end(true);
  };
  client.on("error", fail);
  client.on("connect", () => {
    if (action === "publish") client.publish(topic, message, { qos: 1 }, (error) => (error ? fail(error) : client.end()));
    else client.subscribe(topic, { qos: 1 }, (error) => error && fail(error));
  });
  client.on("message", (_topic, payload) => console.log(payload.toString()));
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
