// A host with the real components on an empty state, and its API.

import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

// The runner ends a file that takes too long by this signal. By it alone what runs when the process ends would be left out, and so would the
// end of the hosts, which hold the runner's pipe.
process.once("SIGTERM", () => process.exit(143));

export const PASSWORD = "zebra-lantern-quiet-orbit";

/** Starts a host. `variables` are variables of the application, `more` further flags, `manifest` another manifest. */
export async function start(variables = {}, more = [], manifest = process.env.ACCREDIT_MANIFEST) {
  const state = mkdtempSync(path.join(tmpdir(), "accredit-browser-"));
  const database = path.join(state, "sqlite_db.db");
  const secret = randomBytes(16).toString("hex");
  const all = { operator_secret: secret, audit_key: secret, hashes_per_second: "1000000", ...variables };
  const env = { ...process.env };
  for (const [name, value] of Object.entries(all)) env[`SPIN_VARIABLE_${name.toUpperCase()}`] = value;
  const flags = ["--format", "json", "--listen", "127.0.0.1:0", "--no-tick", "--quiet"];
  const host = spawn(
    process.env.ACCREDIT_HOST_BIN,
    [...flags, ...more, "--from", manifest, "--state-dir", state],
    { env, stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = new Promise((resolve) => host.once("exit", resolve));
  // Whatever ends this process ends the host too.
  process.once("exit", () => {
    host.kill();
    rmSync(state, { recursive: true, force: true });
  });
  const url = await new Promise((resolve, reject) => {
    host.once("error", reject);
    ended.then((code) => reject(new Error(`the host ended with ${code} before it served`)));
    createInterface({ input: host.stdout }).once("line", (line) => resolve(JSON.parse(line).base_url));
  });
  const stop = async () => {
    host.kill();
    await ended;
    rmSync(state, { recursive: true, force: true });
  };
  return { url, secret, stop, ageProofs: (email) => change(database, AGE, email), ageUses: (email) => change(database, UNUSED, email), forgetPassword: (email) => change(database, FORGET, email), link: (email, provider, there) => change(database, LINK, provider, there, email), api: (bearer) => new Api(url, bearer) };
}

/** Changes rows of a database, as nobody but its operator could. */
function change(database, sql, ...values) {
  const script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=30); c.execute(sys.argv[2], sys.argv[3:]); c.commit()";
  execFileSync("python3", ["-c", script, database, sql, ...values]);
}

/** Makes the proofs of who a person is, and the sign-ins before them, a quarter of an hour older. */
const AGE = `UPDATE credentials SET created_at = created_at - 900000, proved_at = proved_at - 900000
  WHERE kind = 'session' AND user_id IN (SELECT id FROM users WHERE email = ?)`;

/** Links an identity to a person, as a provider does that is not there in a test of pages. */
const LINK = `INSERT INTO identities (id, user_id, issuer, subject, provider, email, created_at, last_used_at)
  SELECT 'idn_' || hex(randomblob(13)), id, 'https://' || ?1, hex(randomblob(8)), ?1, ?2, unixepoch() * 1000 - 9e8, unixepoch() * 1000 - 9e6
  FROM users WHERE email = ?3`;

/** Makes the last use of a person's sessions an hour older. */
const UNUSED = `UPDATE credentials SET last_used_at = last_used_at - 3600000
  WHERE kind = 'session' AND user_id IN (SELECT id FROM users WHERE email = ?)`;

/** Takes the password of a person away, as of one who has always come by a link. */
const FORGET = "UPDATE users SET password_hash = NULL WHERE email = ?";

/** The API, asked with a credential or without one. */
export class Api {
  constructor(url, bearer) {
    this.url = url;
    this.bearer = bearer;
  }

  /** Sends a request; answers its status and its JSON. */
  async send(method, path, body) {
    const headers = { accept: "application/json" };
    if (this.bearer) headers.authorization = `Bearer ${this.bearer}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    return this.read(fetch(this.url + path, { method, headers, body: body && JSON.stringify(body), redirect: "manual" }));
  }

  /** Sends a form without the credential, as apps and devices send it; answers the same. */
  form(path, fields) {
    return this.read(fetch(this.url + path, { method: "POST", body: new URLSearchParams(fields) }));
  }

  async read(sent) {
    const answer = await sent;
    const text = await answer.text();
    let json = null;
    try {
      json = JSON.parse(text);
    } catch {
      // No JSON: 204, or a page.
    }
    return { status: answer.status, json, text };
  }

  /** Sends a request that must succeed; answers its JSON. */
  async must(method, path, body) {
    const { status, json, text } = await this.send(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${text}`);
    return json;
  }

  get(path) {
    return this.must("GET", path);
  }

  post(path, body = {}) {
    return this.must("POST", path, body);
  }
}

/** Makes the first tenant and its admin, who signs in; answers the API as the admin sees it. */
export async function bootstrap(server, name = "Ada Example") {
  await server.api().post("/auth/bootstrap", {
    secret: server.secret,
    email: "ada@example.com",
    name,
    password: PASSWORD,
    tenant: "northwind",
  });
  return signIn(server, "ada@example.com");
}

/** The API as a person sees it. */
export async function signIn(server, email) {
  const session = await server.api().post("/auth/token", { email, password: PASSWORD, tenant: "northwind" });
  return server.api(session.access_token);
}
