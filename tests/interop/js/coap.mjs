// One npm coap client, driven line by line: each line on standard input is a request, {"id", "port", "method", "path",
// "body", "block", "observe", "confirmable"}. What is heard of it is printed as JSON lines. A hub that asks for an Echo
// (RFC 9175) is answered with it, once.
import { createInterface } from "node:readline";
import { createSocket } from "node:dgram";
import coap from "coap";

const ECHO = "252";
const socket = createSocket("udp4");
const agent = new coap.Agent({ type: "udp4", socket });
const tell = (id, event, facts) => console.log(JSON.stringify({ id, event, ...facts }));

// Block1 as the library wants it, to begin with: 2 to the power of 4 + exponent bytes each.
const first = (bytes) => Buffer.of(Math.log2(bytes) - 4);

function ask(step, echo) {
  const { id, port, method, path, body, block, observe, confirmable = true } = step;
  const request = agent.request({ hostname: "127.0.0.1", port, method, pathname: path, observe, confirmable });
  if (echo) request.setOption(ECHO, echo);
  if (block) request.setOption("Block1", first(block));
  request.on("error", (error) => tell(id, "error", { message: error.message }));
  request.on("timeout", () => tell(id, "timeout", {}));
  request.on("response", (response) => {
    const asked = response.options.find(({ name }) => String(name) === ECHO)?.value;
    if (asked && !echo) {
      if (observe) response.close();
      ask(step, asked);
    } else if (observe) {
      response.on("data", (payload) => tell(id, "heard", { code: response.code, body: payload.toString() }));
    } else {
      tell(id, "answer", { code: response.code, body: response.payload.toString() });
    }
  });
  request.end(body);
}

socket.bind(0, "127.0.0.1", async () => {
  for await (const line of createInterface({ input: process.stdin })) ask(JSON.parse(line));
  process.exit();
});
