// The official TypeScript client 2.x against one address, in the era it is told to speak.
//
//   node sdk2.mjs --transport mcp|sse|ws --url URL [--era legacy|modern]
//
// The SDK has no transport for WebSocket any more, so that one is written here.
// Runs what the matrix of clients and servers asks: `ok name` or `not ok name: why` for every
// check, and `N passed, N failed` at the end.

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { parseArgs } from "node:util";
import { must, perform, refused, same, until } from "./checks.mjs";

const { values: options } = parseArgs({
  options: {
    transport: { type: "string" },
    url: { type: "string" },
    era: { type: "string", default: "modern" },
  },
});

/** One message a frame, as in the transport SDK 1.x has. */
class WebSocketTransport {
  constructor(url) {
    this.url = url;
  }

  async start() {
    this.socket = new WebSocket(this.url, "mcp");
    this.socket.onmessage = ({ data }) => this.onmessage?.(JSON.parse(data));
    this.socket.onclose = () => this.onclose?.();
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("no connection"));
    });
  }

  async send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async close() {
    this.socket.close();
  }
}

const TRANSPORTS = {
  mcp: (url) => new StreamableHTTPClientTransport(url),
  sse: (url) => new SSEClientTransport(url),
  ws: (url) => new WebSocketTransport(url),
};

const LISTS = ["tools", "prompts", "resources"];

/** A connected client that remembers what it was told and answers what it is asked. */
class Peer {
  static async connect() {
    const peer = new Peer();
    await peer.client.connect(peer.transport);
    same(peer.client.getProtocolEra(), options.era, "the era");
    peer.tap();
    return peer;
  }

  constructor() {
    this.transport = TRANSPORTS[options.transport](new URL(options.url));
    this.asked = [];
    this.progress = [];
    this.changes = Object.fromEntries(LISTS.map((list) => [list, 0]));
    this.elicited = { action: "accept", content: { username: "ann", email: "ann@example.com" } };
    // The first is what a client of this generation does unless it is told to look for the new era.
    const mode = { legacy: "legacy", modern: "auto" }[options.era];
    this.client = new Client(
      { name: "edge-tests", version: "1.0.0" },
      { capabilities: { sampling: {}, elicitation: { form: {} } }, versionNegotiation: { mode } },
    );
    this.client.setRequestHandler("sampling/createMessage", async ({ params }) => {
      this.asked.push(params);
      const { content } = params.messages[0];
      const text = `you said ${[content].flat()[0].text}`;
      return { role: "assistant", model: "test-model", content: { type: "text", text } };
    });
    this.client.setRequestHandler("elicitation/create", async ({ params }) => {
      this.asked.push(params);
      const { content, ...answer } = this.elicited;
      return content ? { ...answer, content: { ...content, username: params.message } } : answer;
    });
    for (const list of LISTS) {
      this.client.setNotificationHandler(`notifications/${list}/list_changed`, () => {
        this.changes[list] += 1;
      });
    }
  }

  /** Keeps the progress that arrived, before the SDK looks at it. */
  tap() {
    const take = this.transport.onmessage;
    this.transport.onmessage = (message, extra) => {
      if (message.method === "notifications/progress") this.progress.push(message.params);
      take(message, extra);
    };
  }

  async text(name, args = {}, more = undefined) {
    return (await this.client.callTool({ name, arguments: args }, more)).content[0].text;
  }

  async stats() {
    return JSON.parse(await this.text("stats"));
  }
}

const matrix = {
  async list({ client }) {
    const { tools } = await client.listTools();
    same(tools.length >= 27, true, `${tools.length} tools`);
    const schema = tools.find((tool) => tool.name === "json_schema_2020_12_tool").inputSchema;
    same(schema.$defs.address.$anchor, "addressDef");
  },
  async call(peer) {
    const value = { "": [null, true, 1.5, "ü 𝄞 \"\\/"], deep: [[[[{}]]]], n: 1e21 };
    same(JSON.parse(await peer.text("echo", { value })).value, value);
    const result = await peer.client.callTool({ name: "add", arguments: { a: 40, b: 2 } });
    same(result.structuredContent, { sum: 42 });
  },
  async progress(peer) {
    const steps = [];
    await peer.text("test_tool_with_progress", {}, { onprogress: (step) => steps.push(step) });
    const seen = peer.progress.map(({ progress, total }) => [progress, total]);
    same(seen, [[0, 100], [50, 100], [100, 100]]);
    must(steps.length >= 2, steps);
  },
  async error({ client }) {
    const error = await refused(client.callTool({ name: "fail" }));
    same([error.code, error.data], [-32603, { why: "asked" }]);
    same((await refused(client.callTool({ name: "no_such_tool" }))).code, -32602);
  },
  async cancel(peer) {
    const before = (await peer.stats()).cancelled;
    const stop = new AbortController();
    const begun = Promise.withResolvers();
    const call = peer.text("slow", { ms: 60_000, steps: 60 }, {
      signal: stop.signal,
      onprogress: begun.resolve,
    });
    const ended = refused(call);
    await begun.promise;
    stop.abort("not needed any more");
    await ended;
    await until(async () => (await peer.stats()).cancelled > before, "the server to be told");
  },
  async elicitation(peer) {
    const said = await peer.text("test_elicitation", { message: "who?" });
    must(said.includes("action=accept") && said.includes("ann@example.com"), said);
    same(peer.asked.at(-1).message, "who?");
    const accepted = peer.elicited;
    peer.elicited = { action: "decline" };
    const declined = await peer.text("test_elicitation", { message: "who?" });
    peer.elicited = accepted;
    must(declined.includes("action=decline"), declined);
    // Clients at once: each is asked what its own call asks, and the answer gets there.
    const second = await Peer.connect();
    const question = (asker, message) => asker.text("test_elicitation", { message });
    const answers = await Promise.all([question(peer, "one?"), question(second, "two?")]);
    const asked = [peer, second].map((asker) => asker.asked.at(-1)?.message);
    await matrix.close(second);
    same(asked, ["one?", "two?"], "what each was asked");
    must(answers[0].includes("one?") && answers[1].includes("two?"), answers);
  },
  async sampling(peer) {
    same(await peer.text("test_sampling", { prompt: "hello" }), "LLM response: you said hello");
    same(peer.asked.at(-1).maxTokens, 100);
  },
  async list_changed(peer) {
    const names = async () =>
      (await peer.client.listTools({}, { cacheMode: "refresh" })).tools.map((tool) => tool.name);
    const members = LISTS.map((list) => [`${list}ListChanged`, true]);
    const listening =
      options.era === "modern" ? await peer.client.listen(Object.fromEntries(members)) : undefined;
    const before = { ...peer.changes };
    await peer.text("change_lists", { on: true });
    const told = () => LISTS.every((list) => peer.changes[list] > before[list]);
    await until(told, "three notifications");
    await until(async () => (await names()).includes("extra_tool"), "the new tool");
    await peer.text("change_lists", { on: false });
    await until(async () => !(await names()).includes("extra_tool"), "the old list");
    await listening?.close();
  },
  async close({ client, transport }) {
    if (options.transport === "mcp" && options.era === "legacy") await transport.terminateSession();
    await client.close();
  },
};

await perform(Peer.connect, matrix, []);
