// A provider of OpenID Connect for the tests, over TLS, with three clients that want three algorithms. Beside it, over plain HTTP, a
// browser of somebody who signs in there: GET /<name>?<URL> follows the URL until it leaves the provider, and answers where to.
//
//   node provider.mjs <certificate.pem> <key.pem> [thin]
//
// A thin one says addresses and names at its UserInfo endpoint alone, as OpenID Connect Core 1.0 has it in section 5.4.
//
// It prints the ports of both when it serves, and ends when its standard input does.

import { generateKeyPair } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createPlainServer } from "node:http";
import { createServer, get } from "node:https";
import { promisify } from "node:util";
import Provider from "oidc-provider";

import { client, consent, serve, settings } from "./company.mjs";

const [certificate, key] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const conformIdTokenClaims = process.argv[4] === "thin";

const people = {
  max: { email: "max@acme.example", email_verified: true, name: "Max" },
  una: { email: "una@acme.example", email_verified: false, name: "Una" },
  // The company asks her for a second factor, and says so (RFC 8176).
  kim: { email: "kim@acme.example", email_verified: true, name: "Kim", amr: ["pwd", "otp", "mfa"] },
  // An old client of the same company says how he proved who he is, and no more than that.
  tom: { email: "tom@acme.example", email_verified: true, name: "Tom", amr: ["pwd"] },
  zoe: { email: "zoe@foreign.example", email_verified: true, name: "Zoe" },
  ada: { email: "ada@example.com", email_verified: true, name: "Ada" },
};
// The person at the browser. One that is not listed above does not agree.
let present = "max";

const made = (type, options) => promisify(generateKeyPair)(type, options);
const keys = [];
for (const [type, options, alg] of [
  ["rsa", { modulusLength: 2048 }, "RS256"],
  ["ec", { namedCurve: "P-256" }, "ES256"],
  ["ed25519", {}, "EdDSA"],
]) {
  const { privateKey } = await made(type, options);
  keys.push({ ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: alg.toLowerCase() });
}

const signedBy = (client_id, id_token_signed_response_alg, more = {}) => ({
  ...client(client_id, "s3cret+/=of-the-client", ["rs", "es", "ed"]),
  id_token_signed_response_alg,
  ...more,
});

const server = createServer({ cert: certificate, key });
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address();

const provider = new Provider(`https://localhost:${port}`, {
  ...settings(people),
  conformIdTokenClaims,
  clients: [
    signedBy("of-rs", "RS256"),
    signedBy("of-es", "ES256", { token_endpoint_auth_method: "client_secret_basic" }),
    signedBy("of-ed", "EdDSA"),
  ],
  jwks: { keys },
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
});

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (!(present in people)) {
    return provider.interactionFinished(request, response, { error: "access_denied", error_description: "<b>no</b>" });
  }
  if (details.prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: present, amr: people[present].amr } });
  }
  return provider.interactionFinished(request, response, await consent(provider, details));
}

serve(server, provider, interact);

async function browse(first) {
  const cookies = new Map();
  let url = new URL(first);
  for (let step = 0; step < 10; step += 1) {
    const cookie = [...cookies].map((pair) => pair.join("=")).join("; ");
    const answer = await new Promise((resolve, reject) =>
      get(url, { ca: certificate, rejectUnauthorized: false, headers: { cookie } }, resolve).on("error", reject),
    );
    answer.resume();
    for (const line of answer.headers["set-cookie"] ?? []) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      cookies.set(name, value);
    }
    const next = new URL(answer.headers.location ?? `about:blank?${answer.statusCode}`, url);
    if (next.origin !== url.origin) return next.href;
    url = next;
  }
  return "about:blank?endless";
}

const beside = createPlainServer((request, response) => {
  const [, name, url] = request.url.match(/^\/([a-z]+)\?(.*)$/);
  present = name;
  browse(url).then((left) => response.end(left), (error) => response.writeHead(500).end(String(error)));
});
await new Promise((listening) => beside.listen(0, "127.0.0.1", listening));

// Only the first line is read: what the provider says later is nobody's.
process.stdout.on("error", () => {});
console.log(port, beside.address().port);
process.stdin.on("end", () => process.exit(0)).resume();
