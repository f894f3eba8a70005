// R110: the ways into an account, as people go them: what is mailed, what is typed, and what a second try gets.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, beforeEach } from "node:test";

import { enter, launch, signInAs, signInHere, test, visitor } from "./browser.mjs";
import { PASSWORD, bootstrap, signIn, start } from "./server.mjs";
import { sink } from "./sink.mjs";
import { totp } from "./totp.mjs";

const NEW_PASSWORD = "maple-harbour-silent-comet";

let browser;
let server;
let mails;
let admin;
let open = [];

before(async () => {
  browser = await launch();
  mails = await sink();
  server = await start({ ...mails.variables, secrets_key: "a-key-of-the-operator-that-is-long-enough" }, mails.flags);
  admin = await bootstrap(server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  mails?.stop();
});

beforeEach(async () => {
  for (const one of open) await one.close();
  open = [];
});

/** A visitor who is not signed in, and whose faults are looked at when `work` is done. */
async function visit(work) {
  const guest = await visitor(browser, server);
  open.push(guest);
  await work(guest.page);
  assert.deepEqual(guest.faults, []);
}

/** A member with a password, whose address nobody else has. */
async function member(name) {
  const email = `${name.toLowerCase()}@example.com`;
  const user = await admin.post("/api/users", { email, name, role: "member", invite: false });
  await admin.post(`/api/users/${user.id}/set-password`, { password: PASSWORD });
  return { email, id: user.id };
}

const signInButton = (page) => page.getByRole("button", { name: "Sign in", exact: true });

/** Types address and password into the form for signing in. */
async function type(page, email, password) {
  await page.goto("/login?tenant=northwind");
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await signInButton(page).click();
}

/** Waits for the home page. */
const isIn = (page) => page.waitForURL((url) => url.pathname === "/");

test("an invited colleague sets a password and signs in", () =>
  visit(async (page) => {
    await enter(page);
    await page.goto("/admin/users");
    await page.getByRole("link", { name: "Add a person" }).click();
    await page.getByRole("textbox", { name: "Name" }).fill("Noor Example");
    await page.getByRole("textbox", { name: "E-mail" }).fill("noor@example.com");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("status").first().waitFor();
    const link = mails.linkIn(await mails.next("noor@example.com"));
    await visit(async (theirs) => {
      // What opens links for a person, as mail scanners do, spends nothing.
      for (const _ of [1, 2]) assert.equal((await theirs.goto(link)).status(), 200);
      await theirs.getByLabel("Password").fill("password");
      await theirs.locator("form .button.main").click();
      await theirs.locator("[aria-invalid=true]").waitFor();
      await theirs.getByLabel("Password").fill(PASSWORD);
      await theirs.locator("form .button.main").click();
      await theirs.waitForURL("**/login?*");
      // Nobody is signed in by it.
      assert.equal((await theirs.context().cookies()).filter((cookie) => cookie.name === "accredit").length, 0);
      await type(theirs, "noor@example.com", PASSWORD);
      await isIn(theirs);
      // The link is of no use any more.
      await theirs.context().clearCookies();
      assert.equal((await theirs.goto(link)).status(), 410);
      await theirs.getByText("This link was used before.").waitFor();
    });
    await page.goto("/admin/users?q=noor");
    assert.equal(await page.getByText("never").count(), 0);
  }));

test("a forgotten password is replaced by a mailed link", async () => {
  const max = await member("Max");
  await visit(async (page) => {
    await page.goto("/login?tenant=northwind");
    await page.getByRole("link", { name: "Forgot your password?" }).click();
    // An address that nobody has gets the same answer, and no mail.
    for (const email of ["nobody@example.com", max.email]) {
      await page.goto("/forgot");
      await page.getByLabel("E-mail").fill(email);
      await page.getByText("Another tenant").click();
      await page.getByLabel("Tenant").fill("northwind");
      await page.getByRole("button", { name: "Mail me a link" }).click();
      await page.getByRole("status").waitFor();
    }
    await page.goto(mails.linkIn(await mails.next(max.email)));
    await page.getByLabel("Password").fill(NEW_PASSWORD);
    await page.locator("form .button.main").click();
    await page.waitForURL("**/login?*");
    assert.match((await mails.next(max.email)).subject, /password/);
    await type(page, max.email, PASSWORD);
    await page.getByRole("alert").waitFor();
    await type(page, max.email, NEW_PASSWORD);
    await isIn(page);
  });
});

test("a mailed link signs in by its button, once, and leads to the page that was asked for", async () => {
  const kim = await member("Kim");
  await visit(async (page) => {
    await page.goto("/login?tenant=northwind&next=%2Fagents%3Fq%3Dscout");
    await page.getByLabel("E-mail").fill(kim.email);
    await page.getByRole("button", { name: "Mail me a link instead" }).click();
    await page.getByRole("status").waitFor();
    const link = mails.linkIn(await mails.next(kim.email));
    await page.goto(link);
    await page.goto(link);
    // R528: a double click sends the form once, however long the answer takes.
    let sent = 0;
    await page.route("**/auth/email/verify", async (route) => {
      sent += 1;
      await new Promise((resolve) => setTimeout(resolve, 500));
      await route.continue().catch(() => {});
    });
    const button = await page.locator("form .button.main").elementHandle();
    await button.evaluate((one) => {
      one.click();
      setTimeout(() => one.click(), 200);
    });
    await page.waitForURL("**/agents?q=scout");
    assert.equal(sent, 1);
    await visit(async (other) => {
      assert.equal((await other.goto(link)).status(), 410);
      await other.getByText("This link was used before.").waitFor();
    });
  });
});

test("a person without a password signs in again by a mailed link, and goes on with the form that was sent", async () => {
  const email = "ida@example.com";
  await admin.post("/api/users", { email, name: "Ida", role: "member", invite: false });
  await visit(async (page) => {
    const byLink = async () => {
      await page.goto(mails.linkIn(await mails.next(email)));
      await page.locator("form .button.main").click();
    };
    await page.goto("/login?tenant=northwind");
    await page.getByLabel("E-mail").fill(email);
    await page.getByRole("button", { name: "Mail me a link instead" }).click();
    await byLink();
    await isIn(page);
    server.ageProofs(email);
    await page.goto("/tokens?new=1");
    await page.locator("form", { has: page.getByRole("button", { name: "Make the token" }) }).getByLabel(/^Name/).fill("night build");
    await page.getByLabel(/^Only what is ticked/).check();
    await page.locator('[name=scope][value="agents.read"]').check();
    await page.getByLabel("It ends after").selectOption("never");
    await page.getByRole("button", { name: "Make the token" }).click();
    await page.waitForURL("**/login/again?form=*");
    await page.getByText(email).waitFor();
    await page.getByRole("button", { name: "Mail me a link" }).click();
    await page.getByRole("status").waitFor();
    await byLink();
    await page.waitForURL("**/login/again?form=*");
    // What was typed is there, and nothing has been done.
    await page.getByText("night build").waitFor();
    await page.getByText("agents.read").waitFor();
    await page.getByRole("button", { name: "Go on" }).click();
    await page.locator("#secret").waitFor();
    await page.goto("/tokens");
    assert.equal(await page.getByRole("row", { name: /night build/ }).count(), 1);
    // Nothing waits any more.
    await page.goto("/login/again");
    await isIn(page);
  });
});

test("a second factor is set up, asked for, replaced by a recovery code once, and removed", async () => {
  const lea = await member("Lea");
  await visit(async (page) => {
    await type(page, lea.email, PASSWORD);
    await isIn(page);
    await page.goto("/security");
    await page.getByRole("button", { name: "Set it up" }).click();
    const secret = (await page.locator("#secret").textContent()).replaceAll(/\s/g, "");
    await page.getByLabel("The code that the app shows").fill("000000");
    await page.getByRole("button", { name: "Turn it on" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("The code that the app shows").fill(totp(secret));
    await page.getByRole("button", { name: "Turn it on" }).click();
    const codes = (await page.locator("#codes").textContent()).trim().split(/\s+/);
    assert.equal(codes.length, 10);
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download" }).click()]);
    assert.equal(file.suggestedFilename(), "accredit-recovery-codes.txt");
    const kept = await readFile(await file.path(), "utf8");
    assert.ok(codes.every((code) => kept.includes(`\r\n${code}\r\n`)) && kept.includes(lea.email), kept);
    // Hidden, they are nowhere in the page.
    await page.getByRole("button", { name: "Copy" }).click();
    await page.getByRole("button", { name: "Hide" }).click();
    const left = await page.content();
    assert.ok(codes.every((code) => !left.includes(code) && !left.includes(code.replaceAll("-", "%2D"))));
    // R661: a reload sends the form again, and ends none of them.
    await page.reload();
    await page.getByText("It was made and shown.").waitFor();

    const withCode = async (code) => {
      await page.context().clearCookies();
      await type(page, lea.email, PASSWORD);
      await page.waitForURL("**/login/factor?*");
      await page.getByLabel(/The code that your app shows/).fill(code);
      await signInButton(page).click();
    };
    await withCode("000000");
    await page.getByRole("alert").waitFor();
    await withCode(totp(secret, 1));
    await isIn(page);
    await withCode(codes[0]);
    await isIn(page);
    await withCode(codes[0]);
    await page.getByRole("alert").waitFor();
    await withCode(codes[1]);
    await isIn(page);
    await page.goto("/security");
    await page.getByText("8 of your 10 recovery codes are left").waitFor();
    await page.getByText("Remove…").click();
    await page.getByRole("button", { name: "Remove it" }).click();
    await page.getByRole("button", { name: "Set it up" }).waitFor();
    await page.context().clearCookies();
    await type(page, lea.email, PASSWORD);
    await isIn(page);
  });
});

// R351
test("a second factor that is demanded leads on to what was asked for before it", async () => {
  const own = await start({ secrets_key: "a-key-of-the-operator-that-is-long-enough" });
  const ada = await bootstrap(own);
  const { secret } = await ada.post("/auth/factor");
  await ada.post("/auth/factor/confirm", { code: totp(secret) });
  const user = await ada.post("/api/users", { email: "max@example.com", name: "Max", role: "member" });
  await ada.must("POST", `/api/users/${user.id}/set-password`, { password: PASSWORD });
  await ada.must("PATCH", "/api/tenant", { second_factor: "all" });
  const guest = await visitor(browser, own);
  open.push(guest);
  const { page } = guest;
  await page.goto("/agents?q=a+b&state=paused");
  await signInAs(page, "max@example.com");
  await page.waitForURL((url) => url.pathname === "/security");
  await page.getByRole("button", { name: "Set it up" }).click();
  await page.getByRole("link", { name: "Not now" }).click();
  await page.getByRole("button", { name: "Begin again" }).click();
  // A wrong code loses it neither.
  await page.getByLabel("The code").fill("000000");
  await page.getByRole("button", { name: "Turn it on" }).click();
  await page.getByRole("alert").waitFor();
  const theirs = (await page.locator("#secret").textContent()).replaceAll(" ", "");
  await page.getByLabel("The code").fill(totp(theirs));
  await page.getByRole("button", { name: "Turn it on" }).click();
  await page.getByRole("link", { name: "Go on" }).click();
  await page.waitForURL("**/agents?q=a+b&state=paused");
  assert.deepEqual(guest.faults, []);
  await own.stop();
});

test("a device is signed in by its code, with the scopes that the person leaves", async () => {
  const nobody = server.api();
  const ask = async () => (await nobody.form("/auth/device/code", { client_id: "cli", name: "build-7", scope: "agents.read agents.create" })).json;
  const poll = (device_code) => nobody.form("/auth/device/token", { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code, client_id: "cli" });
  await visit(async (page) => {
    const asked = await ask();
    await page.goto(asked.verification_uri_complete);
    // The code survives the sign-in.
    await signInHere(page);
    await page.getByText("build-7").first().waitFor();
    assert.equal((await page.locator(".compare").textContent()).trim(), asked.user_code);
    await page.getByRole("checkbox", { name: /agents\.create/ }).uncheck();
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("status").first().waitFor();
    const got = await poll(asked.device_code);
    assert.equal(got.status, 200, JSON.stringify(got.json));
    assert.deepEqual((await server.api(got.json.access_token).get("/api/auth/whoami")).scope, ["agents.read"]);
    const denied = await ask();
    await page.goto("/device");
    await page.getByLabel("Code").fill(denied.user_code.toLowerCase());
    await page.getByRole("button", { name: "Go on" }).click();
    await page.getByRole("button", { name: "Deny" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await poll(denied.device_code)).json.error, "access_denied");
  });
});

test("a deactivated person is out on the next click, and back in after an activation", async () => {
  const sam = await member("Sam");
  await visit(async (theirs) => {
    await type(theirs, sam.email, PASSWORD);
    await isIn(theirs);
    await visit(async (page) => {
      await enter(page);
      await page.goto(`/admin/users/${sam.id}`);
      await page.getByText("Deactivate…").click();
      await page.getByRole("button", { name: "Deactivate Sam" }).click();
      await page.getByRole("status").first().waitFor();
      await theirs.goto("/agents");
      await theirs.waitForURL("**/login?*");
      await type(theirs, sam.email, PASSWORD);
      await theirs.getByRole("alert").waitFor();
      await page.getByRole("button", { name: "Activate the account" }).click();
      await page.getByRole("status").first().waitFor();
      await type(theirs, sam.email, PASSWORD);
      await isIn(theirs);
    });
  });
});

test("a person changes their own address by a mailed link, in a session of theirs", async () => {
  const una = await member("Una");
  const wanted = "una.new@example.com";
  const ask = async (page, email) => {
    await page.goto("/security");
    await page.getByLabel(/^New address/).fill(email);
    await page.getByRole("button", { name: "Mail me a link", exact: true }).click();
  };
  await visit(async (page) => {
    await type(page, una.email, PASSWORD);
    await isIn(page);
    await ask(page, "UNA@example.com");
    await page.locator("input[name=email][aria-invalid=true]").waitFor();
    await ask(page, wanted);
    await page.getByText(`${wanted} waits for you to confirm it.`).waitFor();
    const first = mails.linkIn(await mails.next(wanted));
    await page.getByRole("button", { name: "Withdraw it" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal(await page.getByText(`${wanted} waits`).count(), 0);
    await page.goto(first);
    await page.getByRole("alert").waitFor();
    await page.getByRole("link", { name: "Ask for a new link" }).click();
    await ask(page, wanted);
    await page.getByText(`${wanted} waits`).waitFor();
    const link = mails.linkIn(await mails.next(wanted));
    await visit(async (other) => {
      // Whoever else reads the mail comes to the sign-in, and no further.
      await other.goto(link);
      await other.waitForURL((url) => url.pathname === "/login" && !url.search.includes("code"));
      await type(other, wanted, PASSWORD);
      await other.getByRole("alert").waitFor();
      await enter(other);
      await other.goto(link);
      await other.getByRole("alert").waitFor();
      assert.equal(await other.getByRole("button", { name: "Make it my address" }).count(), 0);
    });
    // Opening it changes nothing.
    for (const _ of [1, 2]) await page.goto(link);
    await page.goto("/security");
    await page.getByText(`You sign in as ${una.email}.`).waitFor();
    await page.goto(link);
    await page.getByRole("button", { name: "Make it my address" }).click();
    await page.waitForURL("**/security?*");
    await page.getByText(`You sign in as ${wanted}.`).waitFor();
    for (const address of [una.email, wanted]) assert.match((await mails.next(address)).subject, /address of your account was changed/);
    await page.goto(link);
    await page.getByRole("alert").waitFor();
    await page.context().clearCookies();
    await type(page, una.email, PASSWORD);
    await page.getByRole("alert").waitFor();
    await type(page, wanted, PASSWORD);
    await isIn(page);
  });
});

test("a person ends another session of theirs, and that browser is out", async () => {
  const ivo = await member("Ivo");
  const other = await signIn(server, ivo.email);
  await visit(async (page) => {
    await type(page, ivo.email, PASSWORD);
    await isIn(page);
    await page.goto("/security");
    await page.getByRole("button", { name: "End all others" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await other.send("GET", "/api/auth/whoami")).status, 401);
    await page.goto("/security");
    assert.equal(await page.getByRole("button", { name: "End all others" }).count(), 0);
  });
});
