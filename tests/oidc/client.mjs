// An app as npm's openid-client is one: it finds the server's metadata, asks, gets tokens, renews them, uses them and gives them back.
//
// node client.mjs <issuer> <client id> <redirect URI>: prints the address for its person's browser, reads the address that the browser was
// sent back to, and prints what came of it as one line of JSON.

import { once } from "node:events";
import { createInterface } from "node:readline";

import * as client from "openid-client";

const [issuer, clientId, redirect_uri] = process.argv.slice(2);
const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
const server = await client.discovery(new URL(issuer), clientId, undefined, client.None(), options);

const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const address = client.buildAuthorizationUrl(server, {
  redirect_uri,
  scope: "agents.read tokens.read",
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: "S256",
  state: expectedState,
  resource: issuer,
});
console.log(address.href);

const [back] = await once(createInterface({ input: process.stdin }), "line");
const first = await client.authorizationCodeGrant(server, new URL(back), { pkceCodeVerifier, expectedState });
const next = await client.refreshTokenGrant(server, first.refresh_token);
const whoami = new URL("/api/auth/whoami", issuer);
const answer = await client.fetchProtectedResource(server, next.access_token, whoami, "GET");
const { scope } = await answer.json();
await client.tokenRevocation(server, next.refresh_token);
const after = await fetch(whoami, { headers: { authorization: `Bearer ${next.access_token}` } });
console.log(JSON.stringify({ scope, expires_in: next.expires_in, rotated: first.refresh_token !== next.refresh_token, after: after.status }));
process.exit(0);
