// R209: one journey through everything: a person is added on a page, invited by mail, sets a password, signs in, makes a token, and works
// with the program that the server's own script has installed, until the token is revoked on a page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";

import { enter, launch, test, visitor } from "./browser.mjs";
import { PASSWORD, bootstrap, start } from "./server.mjs";
import { sink } from "./sink.mjs";

let browser;
let server;
let mails;
let folder;

/** A copy of the manifest that hands the release out. */
function manifest() {
  const original = process.env.ACCREDIT_MANIFEST;
  const beside = (name) => path.join(path.dirname(original), name);
  cpSync(process.env.ACCREDIT_DIST, path.join(folder, "dist"), { recursive: true });
  for (const pages of ["docs/agents", "docs/reference"]) cpSync(beside(pages), path.join(folder, pages), { recursive: true });
  const text = readFileSync(original, "utf8").replaceAll('"target/', `"${beside("target")}/`);
  writeFileSync(path.join(folder, "spin.toml"), text);
  return path.join(folder, "spin.toml");
}

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "accredit-journey-"));
  browser = await launch();
  mails = await sink();
  server = await start(mails.variables, mails.flags, manifest());
  await bootstrap(server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  mails?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Starts a line in a shell of a person with this home. Nothing of the tests' environment is in it, and it ends after a minute. `ended` is its
 * status and output; `says` waits for a text on standard error.
 */
function started(home, line, input = "") {
  const env = { HOME: home, PATH: `${home}/.local/bin:/usr/bin:/bin` };
  let child;
  const ended = new Promise((resolve) => {
    const options = { env, cwd: home, timeout: 60_000 };
    child = execFile("/bin/sh", ["-c", line], options, (error, out, err) => resolve({ code: error ? (error.code ?? error.signal) : 0, out, err }));
  });
  child.stdin.end(input);
  const says = (pattern) =>
    new Promise((resolve, reject) => {
      let text = "";
      child.stderr.on("data", (data) => {
        text += data;
        const found = text.match(pattern);
        if (found) resolve(found);
      });
      ended.then(({ code }) => reject(new Error(`${line} ended with ${code} and said: ${text}`)));
    });
  return { ended, says };
}

/** Runs such a line to its end. */
const run = (home, line, input) => started(home, line, input).ended;

test("a person is invited, works from a terminal, and is refused with words once the token is revoked", async () => {
  const admin = await visitor(browser, server);
  await enter(admin.page);
  await admin.page.goto("/admin/users");
  await admin.page.getByRole("link", { name: "Add a person" }).click();
  await admin.page.getByRole("textbox", { name: "Name" }).fill("Noor Example");
  await admin.page.getByRole("textbox", { name: "E-mail" }).fill("noor@example.com");
  await admin.page.getByRole("button", { name: "Add", exact: true }).click();
  await admin.page.getByRole("status").first().waitFor();

  const noor = await visitor(browser, server);
  const { page } = noor;
  await page.goto(mails.linkIn(await mails.next("noor@example.com")));
  await page.getByLabel("Password").fill(PASSWORD);
  await page.locator("form .button.main").click();
  await page.waitForURL("**/login?*");
  await enter(page, "noor@example.com");
  await page.goto("/tokens?new=1");
  await page.locator("form", { has: page.getByRole("button", { name: "Make the token" }) }).getByLabel(/^Name/).fill("laptop");
  await page.getByLabel(/^Everything/).check();
  await page.getByRole("button", { name: "Make the token" }).click();
  const token = await page.locator("#secret").textContent();

  await page.goto("/install");
  await page.locator("summary", { hasText: "By hand" }).click();
  const [install, signIn] = await page.locator("details pre.command:visible").allTextContents();
  const home = path.join(folder, "home");
  mkdirSync(home);
  const installed = await run(home, install);
  assert.equal(installed.code, 0, installed.err);
  const signedIn = await run(home, signIn, `${token}\n`);
  assert.equal(signedIn.code, 0, signedIn.err);
  assert.match(signedIn.out, /Signed in as noor@example\.com/);
  assert.equal(statSync(`${home}/.config/accredit/credentials.json`).mode & 0o777, 0o600);
  const made = await run(home, "accredit agents create scout --scope agents.read");
  assert.equal(made.code, 0, made.err);
  await page.goto("/agents");
  await page.getByText("scout").first().waitFor();
  await page.goto("/tokens");
  await page.locator("summary", { hasText: "laptop" }).click();
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("status").first().waitFor();
  const refused = await run(home, "accredit agents list");
  assert.equal(refused.code, 2, refused.out);
  for (const part of ["revoked", "fix:", "accredit auth login", "page:", "request:"]) assert.ok(refused.err.includes(part), refused.err);
  // None of it, in what was shown or is kept in the open, is the token.
  for (const ran of [installed, signedIn, made, refused]) assert.ok(!`${ran.out}${ran.err}`.includes(token));
  // What the words advise gets the person in again.
  const login = started(home, "exec accredit auth login");
  const shown = await login.says(/Open {3}(\S+)\s.*compare the code/s);
  await page.goto(shown[1]);
  await page.getByLabel(/^Everything/).check();
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByRole("status").first().waitFor();
  const again = await login.ended;
  assert.equal(again.code, 0, again.err);
  assert.match(again.out, /Signed in as noor@example\.com/);
  assert.equal((await run(home, "accredit agents get scout")).code, 0);
  for (const guest of [admin, noor]) {
    assert.deepEqual(guest.faults, []);
    await guest.close();
  }
});
