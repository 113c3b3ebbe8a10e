// The official TypeScript SDKs as the client the conformance suite asks for.
//
//   node conformance.mjs URL
//
// with MCP_CONFORMANCE_SCENARIO, _PROTOCOL_VERSION and _CONTEXT in the environment, as the suite
// sets them. SDK 1.x plays the revisions up to 2025-11-25, client 2.x plays 2026-07-28; with
// EDGE_CLIENT_REVISION the client is of another revision than the server the suite plays.

import { Client as ModernClient } from "@modelcontextprotocol/client";
import { StreamableHTTPClientTransport as ModernTransport } from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const MODERN = "2026-07-28";
const url = new URL(process.argv.at(-1));
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const version =
  process.env.EDGE_CLIENT_REVISION ?? process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const IDENTITY = { name: "edge-tests", version: "1.0.0" };

const scenarios = {
  async initialize(client) {
    await client.listTools();
  },

  async tools_call(client) {
    await client.listTools();
    await client.callTool({ name: "add_numbers", arguments: { a: 5, b: 3 } });
  },

  async "elicitation-sep1034-client-defaults"(client) {
    await client.listTools();
    await client.callTool({ name: "test_client_elicitation_defaults", arguments: {} });
  },

  async "sse-retry"(client) {
    await client.listTools();
    await client.callTool({ name: "test_reconnection", arguments: {} });
  },

  async "request-metadata"(client) {
    await client.listTools();
  },

  async "sep-2322-client-request-state"(client) {
    await client.listTools();
    const call = (name) => client.callTool({ name, arguments: {} });
    await Promise.all([call("test_mrtr_echo_state"), call("test_mrtr_unrelated")]);
    await call("test_mrtr_no_state");
    // Answers without `resultType` are some servers' mistake; an SDK may refuse them.
    await call("test_mrtr_no_result_type").catch((fault) => console.error(`refused: ${fault}`));
  },

  async "http-standard-headers"(client) {
    for (const { name } of (await client.listTools()).tools) {
      await client.callTool({ name, arguments: {} });
    }
    for (const { uri } of (await client.listResources()).resources) {
      await client.readResource({ uri });
    }
    for (const { name } of (await client.listPrompts()).prompts) {
      await client.getPrompt({ name });
    }
  },

  async "http-custom-headers"(client) {
    await client.listTools();
    for (const call of context.toolCalls) {
      await client.callTool(call);
    }
  },

  async "http-invalid-tool-headers"(client) {
    for (const { name, inputSchema } of (await client.listTools()).tools) {
      const given = Object.keys(inputSchema.properties ?? {}).map((name) => [name, "value"]);
      await client.callTool({ name, arguments: Object.fromEntries(given) });
    }
  },

  async "json-schema-ref-no-deref"(client) {
    await client.listTools();
  },

  async "json-schema-2020-12-preservation"(client) {
    const { tools } = await client.listTools();
    const schema = tools.find(({ name }) => name === "json_schema_2020_12_tool").inputSchema;
    await client.callTool({ name: "json_schema_echo", arguments: { schema } });
  },
};

// Both SDKs fill in the defaults of a form by themselves.
const elicitation = { form: { applyDefaults: true } };

function fill({ params }) {
  const asked = params.requestedSchema.properties;
  return { action: "accept", content: asked.confirmed ? { confirmed: true } : {} };
}

async function legacy() {
  const client = new Client(IDENTITY, { capabilities: { elicitation, sampling: {}, roots: {} } });
  client.setRequestHandler(ElicitRequestSchema, fill);
  await client.connect(new StreamableHTTPClientTransport(url));
  return client;
}

async function modern() {
  const capabilities = { elicitation, sampling: {}, roots: {} };
  const versionNegotiation = { mode: { pin: MODERN } };
  const client = new ModernClient(IDENTITY, { capabilities, versionNegotiation });
  client.setRequestHandler("elicitation/create", fill);
  await client.connect(new ModernTransport(url));
  return client;
}

const client = await (version === MODERN ? modern() : legacy());
try {
  await scenarios[scenario](client);
} finally {
  await client.close();
}
