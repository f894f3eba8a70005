// The official client for TypeScript on one journey: connect, list, call, be refused, ask, be approved, call again.
//
//   node client.mjs <URL of /mcp> <token> <auto|legacy>
//
// Each step is a line of JSON on standard output. Where a person has to decide, it waits for a line on standard input.

import { createInterface } from "node:readline";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, token, mode] = process.argv.slice(2);
const say = (step) => process.stdout.write(`${JSON.stringify(step)}\n`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const client = new Client(
  { name: "accredit-tests", version: "1.0.0" },
  { capabilities: { elicitation: { url: {}, form: {} } }, versionNegotiation: { mode } },
);
client.setRequestHandler("elicitation/create", async (request) => {
  say({ ask: request.params.url, message: request.params.message });
  await lines.next();
  return { action: "accept" };
});
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { authorization: `Bearer ${token}` } },
});
await client.connect(transport);
say({ server: client.getServerVersion(), instructions: client.getInstructions() });

const { tools } = await client.listTools();
say({ tools: tools.map((tool) => tool.name) });

const whoami = await client.callTool({ name: "whoami", arguments: {} });
say({ whoami: whoami.structuredContent, isError: whoami.isError });

const absent = await client.callTool({ name: "agents_get", arguments: { agent: "nobody" } });
say({ refused: absent.structuredContent, isError: absent.isError, text: absent.content[0].text });

const listed = await client.callTool({ name: "agents_list", arguments: {} });
say({ listed: listed.structuredContent, isError: listed.isError });

const { resources } = await client.listResources();
const page = await client.readResource({ uri: "accredit://manual/agents/errors" });
say({ resources: resources.length, page: page.contents[0].text.slice(0, 20) });

const { prompts } = await client.listPrompts();
const prompt = await client.getPrompt({ name: "who_am_i" });
say({ prompts: prompts.map((one) => one.name), prompt: prompt.messages[0].content.text });

if (mode !== "legacy") {
  const told = new Promise((resolve) => client.setNotificationHandler("notifications/tools/list_changed", resolve));
  const subscription = await client.listen({ toolsListChanged: true });
  say({ listening: true });
  await told;
  say({ told: true });
  await subscription.close();
}
await client.close();
say({ done: true });
process.exit(0);
