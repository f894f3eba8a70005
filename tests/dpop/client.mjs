// A client that binds what it gets to a key of its own, by a library. It prints what came of each step, as one object of JSON.
import * as oauth from "oauth4webapi";

const [base, resource, subject, code] = process.argv.slice(2);
const plain = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(base);
const found = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain });
const server = await oauth.processDiscoveryResponse(issuer, found);
const client = { client_id: "accredit-test" };
const key = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const other = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const said = { algorithms: server.dpop_signing_alg_values_supported, thumbprint: await key.calculateThumbprint() };

// A signed token for a service.
const form = new URLSearchParams({
  subject_token: subject,
  subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
  resource,
});
const grant = "urn:ietf:params:oauth:grant-type:token-exchange";
const options = { DPoP: key, ...plain };
const answer = await oauth.genericTokenEndpointRequest(server, client, oauth.None(), grant, form, options);
const signed = await oauth.processGenericTokenEndpointResponse(server, client, answer);
said.signed = signed.access_token;
said.type = signed.token_type;

const send = (handle, token, method, path, body = null, more = {}) => {
  const headers = new Headers({ "content-type": "application/json", accept: "application/json", ...more });
  if (body === null) headers.delete("content-type");
  const options = { DPoP: handle, ...plain };
  return oauth.protectedResourceRequest(token, method, new URL(path, base), headers, body, options);
};
const status = async (...request) => {
  try {
    return (await send(...request)).status;
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
    const challenge = error.cause[0];
    return `${error.response.status} ${challenge.scheme} ${challenge.parameters.error}`;
  }
};

// The token of an agent, for a code.
const address = new URL("/api/agents/enroll", base);
const headers = new Headers({ "content-type": "application/json" });
await key.addProof(address, headers, "POST");
const enrolled = await fetch(address, { method: "POST", headers, body: JSON.stringify({ code }) });
const { token, dpop_jkt } = await enrolled.json();
said.token = token;
said.bound = dpop_jkt;
said.whoami = await status(key, token, "GET", "/api/auth/whoami");
said.again = await status(key, token, "GET", "/api/agents?limit=5");
said.other = await status(other, token, "GET", "/api/auth/whoami");
said.bearer = await status(undefined, token, "GET", "/api/auth/whoami");
const version = { "mcp-protocol-version": "2025-11-25", accept: "application/json, text/event-stream" };
const list = { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} };
const call = { jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "whoami", arguments: {} } };
for (const [name, message] of Object.entries({ list, call })) {
  const answer = await send(key, token, "POST", "/mcp", JSON.stringify(message), version);
  said[name] = [answer.status, (await answer.text()).includes('"error"')];
}
said.tools = await status(other, token, "POST", "/mcp", JSON.stringify(list), version);
const next = await (await send(key, token, "POST", "/api/agents/me/token/issue", "{}")).json();
said.next = await status(key, next.token, "GET", "/api/auth/whoami");
said.stolen = await status(undefined, next.token, "GET", "/api/auth/whoami");
console.log(JSON.stringify(said));
