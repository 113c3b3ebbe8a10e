// The official TypeScript SDK 1.x client against one address over one transport.
//
//   node sdk.mjs --transport mcp|sse|ws --url URL [--checks all|paged|matrix] [--skip name,name]
//
// Prints `ok name` or `not ok name: why` for every check and ends with `N passed, N failed`.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { WebSocketClientTransport } from "@modelcontextprotocol/sdk/client/websocket.js";
import * as types from "@modelcontextprotocol/sdk/types.js";
import { parseArgs } from "node:util";
import { must, perform, refused, same, until } from "./checks.mjs";

const { values: options } = parseArgs({
  options: {
    transport: { type: "string" },
    url: { type: "string" },
    checks: { type: "string", default: "all" },
    skip: { type: "string", default: "" },
  },
});

const TRANSPORTS = {
  mcp: (url) => new StreamableHTTPClientTransport(url),
  sse: (url) => new SSEClientTransport(url),
  ws: (url) => new WebSocketClientTransport(url),
};

/** A connected client that remembers what it was told and answers what it is asked. */
class Peer {
  static async connect() {
    const peer = new Peer();
    await peer.client.connect(peer.transport);
    peer.tap();
    return peer;
  }

  constructor() {
    this.transport = TRANSPORTS[options.transport](new URL(options.url));
    this.errors = [];
    this.told = [];
    this.asked = [];
    this.progress = [];
    this.answered = new Set();
    this.elicited = { action: "accept", content: { username: "ann", email: "ann@example.com" } };
    this.roots = [{ uri: "file:///one", name: "one" }];
    this.client = new Client(
      { name: "edge-tests", version: "1.0.0" },
      { capabilities: { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } } },
    );
    this.client.onerror = (error) => this.errors.push(error);
    this.client.fallbackNotificationHandler = async (note) => void this.told.push(note);
    this.client.setRequestHandler(types.CreateMessageRequestSchema, async ({ params }) => {
      this.asked.push(params);
      const text = `you said ${params.messages[0].content.text}`;
      return { role: "assistant", model: "test-model", content: { type: "text", text } };
    });
    this.client.setRequestHandler(types.ElicitRequestSchema, async ({ params }) => {
      this.asked.push(params);
      return this.elicited;
    });
    this.client.setRequestHandler(types.ListRootsRequestSchema, async () => ({ roots: this.roots }));
  }

  /** Keeps the order in which progress and answers arrived, before the SDK looks at them. */
  tap() {
    const take = this.transport.onmessage;
    this.transport.onmessage = (message, extra) => {
      if (message.method === "notifications/progress") {
        const late = this.answered.has(message.params.progressToken);
        this.progress.push({ ...message.params, late });
      } else if (message.method === undefined) {
        this.answered.add(message.id);
      }
      take(message, extra);
    };
  }

  async text(name, args = {}, more = undefined) {
    const result = await this.client.callTool({ name, arguments: args }, undefined, more);
    return result.content[0].text;
  }

  async stats() {
    return JSON.parse(await this.text("stats"));
  }

  count(method) {
    return this.told.filter((note) => note.method === method).length;
  }
}

const NOTE = {
  message: "notifications/message",
  updated: "notifications/resources/updated",
  tools: "notifications/tools/list_changed",
  prompts: "notifications/prompts/list_changed",
  resources: "notifications/resources/list_changed",
};

const WATCHED = "test://watched-resource";

const all = {
  async initialize({ client }) {
    const capabilities = client.getServerCapabilities();
    same(capabilities.tools?.listChanged, true, "tools.listChanged");
    same(capabilities.resources?.subscribe, true, "resources.subscribe");
    must(capabilities.prompts && capabilities.logging && capabilities.completions, capabilities);
    must(client.getServerVersion().name, "a server name");
  },
  async "ping from the client"({ client }) {
    same(await client.ping(), {});
  },
  async "ping from the server"(peer) {
    same(await peer.text("ping_client"), "pong");
  },
  async "tools list"({ client }) {
    const { tools } = await client.listTools();
    same(tools.length >= 27, true, `${tools.length} tools`);
    const schema = tools.find((tool) => tool.name === "json_schema_2020_12_tool").inputSchema;
    same(schema.$defs.address.$anchor, "addressDef");
    same(tools.find((tool) => tool.name === "add").outputSchema.required, ["sum"]);
  },
  async "tools text"(peer) {
    const said = await peer.text("test_simple_text");
    same(said, "This is a simple text response for testing.");
  },
  async "tools image"({ client }) {
    const { content } = await client.callTool({ name: "test_image_content" });
    same([content[0].type, content[0].mimeType], ["image", "image/png"]);
  },
  async "tools audio"({ client }) {
    const { content } = await client.callTool({ name: "test_audio_content" });
    same([content[0].type, content[0].mimeType], ["audio", "audio/wav"]);
  },
  async "tools embedded resource"({ client }) {
    const { content } = await client.callTool({ name: "test_embedded_resource" });
    same(content[0].resource.uri, "test://embedded-resource");
  },
  async "tools mixed content"({ client }) {
    const { content } = await client.callTool({ name: "test_multiple_content_types" });
    same(content.map((block) => block.type), ["text", "image", "resource"]);
  },
  async "tools structured content"({ client }) {
    const result = await client.callTool({ name: "add", arguments: { a: 40, b: 2 } });
    same(result.structuredContent, { sum: 42 });
  },
  async "tools error result"({ client }) {
    const result = await client.callTool({ name: "test_error_handling" });
    same(result.isError, true);
  },
  async "error from the server keeps code and data"({ client }) {
    const error = await refused(client.callTool({ name: "fail" }));
    same([error.code, error.data], [-32603, { why: "asked" }]);
    must(error.message.includes("failed on purpose"), error.message);
  },
  async "error for an unknown tool"({ client }) {
    same((await refused(client.callTool({ name: "no_such_tool" }))).code, -32602);
  },
  async "error for an unknown method"({ client }) {
    const call = client.request({ method: "no/such", params: {} }, types.ResultSchema);
    same((await refused(call)).code, -32601);
  },
  async "arguments and results are not altered"(peer) {
    const value = { "": [null, true, 1.5, -0.25, "\u0000\u2028 ü 𝄞 \"\\/"], deep: [[[[{}]]]], n: 1e21 };
    same(JSON.parse(await peer.text("echo", { value })).value, value);
  },
  async "a result of one megabyte"(peer) {
    same((await peer.text("big", { bytes: 1_000_000 })).length, 1_000_000);
  },
  async "forty calls at once are each answered with their own"(peer) {
    const numbers = Array.from({ length: 40 }, (_, number) => number);
    const call = async (value) => {
      if (value % 5 === 0) await peer.text("slow", { ms: 100, steps: 1 });
      return JSON.parse(await peer.text("echo", { value })).value;
    };
    same(await Promise.all(numbers.map(call)), numbers);
  },
  async progress(peer) {
    // The SDK hands a notification over a moment later than an answer, so that an answer in the
    // same packet takes the last callback away. What arrived, and when, is what is asked here.
    const before = peer.progress.length;
    const steps = [];
    await peer.text("test_tool_with_progress", {}, { onprogress: (step) => steps.push(step) });
    const seen = peer.progress.slice(before);
    same(seen.map(({ progress, total }) => [progress, total]), [[0, 100], [50, 100], [100, 100]]);
    same(seen.some(({ late }) => late), false, "progress after the answer");
    must(steps.length >= 2, steps);
  },
  async "progress of calls at once goes to its own call"(peer) {
    const seen = [[], [], []];
    const call = (mine, steps) =>
      peer.text("slow", { ms: 200, steps }, { onprogress: ({ message }) => mine.push(message) });
    await Promise.all(seen.map((mine, number) => call(mine, number + 2)));
    seen.forEach((mine, number) => {
      must(mine.length && mine.every((text) => text.endsWith(`of ${number + 2}`)), mine);
    });
  },
  async logging(peer) {
    await peer.client.setLoggingLevel("debug");
    const before = peer.count(NOTE.message);
    // What a shared server logs goes to the only session that has a call there, and the one before
    // this may have left some.
    await until(async () => {
      await peer.text("test_tool_with_logging");
      return peer.count(NOTE.message) >= before + 3;
    }, "three messages");
    same(peer.told.findLast((note) => note.method === NOTE.message).params.logger, "fixture");
  },
  async "logging below the level is not sent"(peer) {
    await peer.client.setLoggingLevel("error");
    const before = peer.count(NOTE.message);
    await peer.text("test_tool_with_logging");
    await peer.client.ping();
    same(peer.count(NOTE.message), before);
    await peer.client.setLoggingLevel("debug");
  },
  async sampling(peer) {
    same(await peer.text("test_sampling", { prompt: "hello" }), "LLM response: you said hello");
    same(peer.asked.at(-1).maxTokens, 100);
  },
  async "elicitation accepted"(peer) {
    const said = await peer.text("test_elicitation", { message: "who?" });
    must(said.includes("action=accept") && said.includes("ann@example.com"), said);
    same(peer.asked.at(-1).message, "who?");
    same(peer.asked.at(-1).requestedSchema.required, ["username", "email"]);
  },
  async "elicitation declined"(peer) {
    const accepted = peer.elicited;
    peer.elicited = { action: "decline" };
    const said = await peer.text("test_elicitation", { message: "who?" });
    peer.elicited = accepted;
    must(said.includes("action=decline"), said);
  },
  async "elicitation defaults"(peer) {
    await peer.text("test_elicitation_sep1034_defaults");
    const { properties } = peer.asked.at(-1).requestedSchema;
    same([properties.age.default, properties.verified.default], [30, true]);
  },
  async "a refusal by the client reaches the server"(peer) {
    peer.client.setRequestHandler(types.ListRootsRequestSchema, async () => {
      throw new types.McpError(-32001, "no roots today");
    });
    const call = refused(peer.client.callTool({ name: "list_roots" }));
    const error = await call.finally(() => {
      const roots = async () => ({ roots: peer.roots });
      peer.client.setRequestHandler(types.ListRootsRequestSchema, roots);
    });
    same(error.code, -32001);
    must(error.message.includes("no roots today"), error.message);
  },
  async roots(peer) {
    same(await peer.text("list_roots"), "file:///one");
  },
  async "roots list_changed"(peer) {
    const before = (await peer.stats()).roots_changed;
    await peer.client.sendRootsListChanged();
    await until(async () => (await peer.stats()).roots_changed > before, "the server to be told");
  },
  async cancellation(peer) {
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
  async "resources list"({ client }) {
    const uris = (await client.listResources()).resources.map((resource) => resource.uri);
    same(uris, ["test://static-text", "test://static-binary", WATCHED]);
  },
  async "resources read text"({ client }) {
    const { contents } = await client.readResource({ uri: "test://static-text" });
    same(contents[0].text, "This is the content of the static text resource.");
  },
  async "resources read binary"({ client }) {
    const { contents } = await client.readResource({ uri: "test://static-binary" });
    must(contents[0].blob.startsWith("iVBOR"), contents[0]);
  },
  async "resources templates list"({ client }) {
    const { resourceTemplates } = await client.listResourceTemplates();
    same(resourceTemplates[0].uriTemplate, "test://template/{id}/data");
  },
  async "resources template read"({ client }) {
    const { contents } = await client.readResource({ uri: "test://template/123/data" });
    same(JSON.parse(contents[0].text).id, "123");
  },
  async "resources not found"({ client }) {
    const error = await refused(client.readResource({ uri: "test://nowhere" }));
    must([-32002, -32602].includes(error.code), error);
  },
  async "subscription"(peer) {
    same(await peer.client.subscribeResource({ uri: WATCHED }), {});
    const before = peer.count(NOTE.updated);
    same(await peer.text("touch_resource", { uri: WATCHED }), "told");
    await until(() => peer.count(NOTE.updated) > before, "an update");
    same(peer.told.findLast((note) => note.method === NOTE.updated).params.uri, WATCHED);
  },
  async "end of subscription"(peer) {
    same(await peer.client.unsubscribeResource({ uri: WATCHED }), {});
    const before = peer.count(NOTE.updated);
    await peer.text("touch_resource", { uri: WATCHED });
    await peer.client.ping();
    same(peer.count(NOTE.updated), before);
  },
  async list_changed(peer) {
    const counts = () => [NOTE.tools, NOTE.prompts, NOTE.resources].map((kind) => peer.count(kind));
    const names = async () => (await peer.client.listTools()).tools.map((tool) => tool.name);
    const before = counts();
    await peer.text("change_lists", { on: true });
    await until(() => counts().every((count, at) => count > before[at]), "three notifications");
    await until(async () => (await names()).includes("extra_tool"), "the new tool");
    same(await peer.text("extra_tool"), "extra");
    const { prompts } = await peer.client.listPrompts();
    must(prompts.some((prompt) => prompt.name === "extra_prompt"), prompts);
    await peer.text("change_lists", { on: false });
    await until(async () => !(await names()).includes("extra_tool"), "the old list");
  },
  async "prompts list"({ client }) {
    const { prompts } = await client.listPrompts();
    same(prompts.length, 5);
    same(prompts[1].arguments.map((argument) => argument.name), ["arg1", "arg2"]);
  },
  async "prompts get"({ client }) {
    const { messages } = await client.getPrompt({ name: "test_simple_prompt" });
    same(messages[0].content.text, "This is a simple prompt for testing.");
  },
  async "prompts arguments"({ client }) {
    const args = { arg1: "a", arg2: "b" };
    const { messages } = await client.getPrompt({ name: "test_prompt_with_arguments", arguments: args });
    must(messages[0].content.text.includes("arg1='a', arg2='b'"), messages);
  },
  async "prompts embedded resource"({ client }) {
    const args = { resourceUri: "test://example" };
    const name = "test_prompt_with_embedded_resource";
    const { messages } = await client.getPrompt({ name, arguments: args });
    same(messages[0].content.resource.uri, "test://example");
  },
  async "prompts image"({ client }) {
    const { messages } = await client.getPrompt({ name: "test_prompt_with_image" });
    same(messages[0].content.type, "image");
  },
  async "prompts unknown"({ client }) {
    same((await refused(client.getPrompt({ name: "no_such_prompt" }))).code, -32602);
  },
  async "completion of a prompt argument"({ client }) {
    const ref = { type: "ref/prompt", name: "test_prompt_with_arguments" };
    const { completion } = await client.complete({ ref, argument: { name: "arg1", value: "par" } });
    same(completion.values, ["paris", "park", "party"]);
  },
  async "completion of a template argument"({ client }) {
    const ref = { type: "ref/resource", uri: "test://template/{id}/data" };
    const { completion } = await client.complete({ ref, argument: { name: "id", value: "test" } });
    same(completion.values, ["test-one", "test-two"]);
  },
  async "an answer comes though the stream was closed in between"(peer) {
    same(await peer.text("test_reconnection"), "Reconnection test completed");
  },
  async "two clients do not see each other's messages"(first) {
    const second = await Peer.connect();
    try {
      const before = second.told.length;
      await first.client.subscribeResource({ uri: WATCHED });
      const [mine, theirs] = [[], []];
      const slow = (peer, steps, seen) =>
        peer.text("slow", { ms: 200, steps }, { onprogress: ({ message }) => seen.push(message) });
      await Promise.all([slow(first, 2, mine), slow(second, 3, theirs)]);
      await first.text("touch_resource", { uri: WATCHED });
      await first.text("test_tool_with_logging");
      await second.client.ping();
      must(mine.length && mine.every((text) => text.endsWith("of 2")), mine);
      must(theirs.length && theirs.every((text) => text.endsWith("of 3")), theirs);
      same(second.told.slice(before), [], "what the second was told");
      same(await first.text("test_sampling", { prompt: "a" }), "LLM response: you said a");
      same(second.asked, [], "what the second was asked");
      await first.client.unsubscribeResource({ uri: WATCHED });
    } finally {
      await second.client.close();
    }
  },
  async "no message was unreadable"(peer) {
    // The first two are the SDK's own ways: see the check of progress, which asks what arrived.
    const own = /progress notification for an unknown token|SSE stream disconnected|abort/i;
    same(peer.errors.map(String).filter((error) => !own.test(error)), []);
    same(peer.progress.filter(({ late }) => late), [], "progress after the answer");
  },
  async "close"(peer) {
    if (options.transport === "mcp") await peer.transport.terminateSession();
    await peer.client.close();
  },
};

/** Against a fixture whose page length is five. */
const paged = {
  async "tools in pages"({ client }) {
    const names = await everyPage((cursor) => client.listTools(cursor), "tools", "name");
    same(names.length >= 27, true, `${names.length} tools`);
    same(new Set(names).size, names.length, "no name twice");
    must(names.includes("test_simple_text") && names.includes("client"), names);
  },
  async "resources in pages"({ client }) {
    const uris = await everyPage((cursor) => client.listResources(cursor), "resources", "uri");
    same(uris.length, 3);
  },
  async "templates in pages"({ client }) {
    const list = (cursor) => client.listResourceTemplates(cursor);
    same((await everyPage(list, "resourceTemplates", "name")).length, 2);
  },
  async "prompts in pages"({ client }) {
    const names = await everyPage((cursor) => client.listPrompts(cursor), "prompts", "name");
    same(names.length, 5);
  },
  async "unknown cursor"({ client }) {
    same((await refused(client.listTools({ cursor: "from:nowhere" }))).code, -32602);
  },
};

async function everyPage(list, member, key) {
  const found = [];
  let cursor;
  for (let page = 0; page < 50; page += 1) {
    const result = await list(cursor === undefined ? {} : { cursor });
    found.push(...result[member].map((item) => item[key]));
    cursor = result.nextCursor;
    if (cursor === undefined) return found;
  }
  throw new Error(`more than 50 pages of ${member}`);
}

/** What the matrix of clients and servers asks. */
const matrix = {
  list: all["tools list"],
  async call(peer) {
    await all["tools text"](peer);
    await all["arguments and results are not altered"](peer);
  },
  progress: all.progress,
  error: all["error from the server keeps code and data"],
  cancel: all.cancellation,
  async elicitation(peer) {
    await all["elicitation accepted"](peer);
    await all["elicitation declined"](peer);
  },
  sampling: all.sampling,
  list_changed: all.list_changed,
  close: all.close,
};

await perform(Peer.connect, { all, paged, matrix }[options.checks], options.skip.split(","));
