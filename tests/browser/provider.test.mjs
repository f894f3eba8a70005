// R100, R101: people sign in at their company's provider, in a browser.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { enter, launch, test, visitor } from "./browser.mjs";
import { company } from "./provider.mjs";
import { bootstrap, signIn, start } from "./server.mjs";

let browser;
let acme;
let server;

before(async () => {
  browser = await launch();
  acme = await company();
  server = await start(acme.variables, acme.flags);
  await bootstrap(server);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  acme?.close();
  acme?.remove();
});

/** Lets somebody with a fresh browser do something; what a page must never do is an error. */
async function visit(act, at = server) {
  const guest = await visitor(browser, at, { also: [acme.url], ignoreHTTPSErrors: true });
  try {
    await act(guest.page, guest);
    assert.deepEqual(guest.faults, []);
  } finally {
    await guest.close();
  }
}

/** Goes through the pages of the provider, which asks for a name unless it knows the browser. */
async function through(page, name, agrees = "Agree") {
  await page.waitForURL(`${acme.url}/**`);
  if (name) {
    await page.getByLabel("Name").fill(name);
    await page.getByRole("button", { name: "Go on" }).click();
  }
  await page.getByRole("button", { name: agrees }).click();
  await page.waitForURL(`${server.url}/**`);
}

test("a colleague signs in at the company's provider and comes to the page that was asked for", () =>
  visit(async (page) => {
    await page.goto("/agents?q=scout");
    await page.waitForURL("**/login?next=*");
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    await through(page, "max");
    assert.equal(new URL(page.url()).pathname + new URL(page.url()).search, "/agents?q=scout");
    await page.locator(".menu > summary").click();
    await page.getByText("max@acme.example", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/login*");
    await page.getByText("you are still signed in there").waitFor();
    // R710: the provider still knows who that is, and asks all the same.
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    await through(page, "max");
    await page.waitForURL(`${server.url}/`);
    await page.getByRole("heading", { name: "Home" }).waitFor();
  }));

test("a person who does not agree at the provider is told so, and has the other ways", () =>
  visit(async (page) => {
    await page.goto("/login");
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    await through(page, "max", "Refuse");
    await page.getByText("The provider did not sign you in.").waitFor();
    await page.getByRole("link", { name: "Continue with Acme" }).waitFor();
    await page.getByLabel("Password").waitFor();
  }));

test("a person links an identity, signs in with it, and unlinks it", () =>
  visit(async (page) => {
    await enter(page, "ada@example.com", { next: "/security" });
    await page.getByRole("button", { name: "Link Acme" }).click();
    await through(page, "ada");
    await page.waitForURL("**/security*");
    await page.getByRole("row", { name: /Acme.*ada@example\.com/ }).waitFor();
    await page.locator(".menu > summary").click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/login*");
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    await through(page, "ada");
    await page.waitForURL(`${server.url}/`);
    await page.goto("/security");
    await page.getByRole("button", { name: /^Unlink/ }).click();
    await page.getByRole("row", { name: /Acme.*ada@example\.com/ }).waitFor({ state: "detached" });
  }));

test("an admin unlinks what a colleague has linked, and the next sign-in links it anew", () =>
  visit(async (page) => {
    const admin = await signIn(server, "ada@example.com");
    const max = (await admin.get("/api/users?q=max@acme.example")).items[0].id;
    await enter(page, "ada@example.com", { next: `/admin/users/${max}` });
    await page.getByRole("heading", { name: "Sign-ins through providers" }).waitFor();
    await page.getByRole("row", { name: /Acme.*max@acme\.example/ }).waitFor();
    await page.getByText("Unlink it…").click();
    await page.getByRole("button", { name: "Unlink the sign-ins of Max" }).click();
    await page.getByText("Unlinked, and the person was told.").waitFor();
    await page.getByText("They have linked none.").waitFor();
    assert.deepEqual((await admin.get(`/api/users/${max}/identities`)).items, []);
    await visit(async (colleague) => {
      await colleague.goto("/login");
      await colleague.getByRole("link", { name: "Continue with Acme" }).click();
      await through(colleague, "max");
      await colleague.waitForURL(`${server.url}/`);
    });
    assert.equal((await admin.get(`/api/users/${max}/identities`)).items.length, 1);
  }));

test("a colleague without a password signs in again at the provider, and goes on with the form that was sent", () =>
  visit(async (page) => {
    await page.goto("/login");
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    await through(page, "max");
    await page.waitForURL(`${server.url}/`);
    server.ageProofs("max@acme.example");
    await page.goto("/tokens?new=1");
    await page.locator("form", { has: page.getByRole("button", { name: "Make the token" }) }).getByLabel(/^Name/).fill("night build");
    await page.getByLabel(/^Everything/).check();
    await page.getByLabel("It ends after").selectOption("never");
    await page.getByRole("button", { name: "Make the token" }).click();
    await page.waitForURL("**/login/again?form=*");
    await page.getByRole("link", { name: "Continue with Acme" }).click();
    // The provider knows who is there, and asks for a new sign-in all the same.
    await through(page, "max");
    await page.waitForURL("**/login/again?form=*");
    await page.getByText("night build").waitFor();
    await page.getByRole("button", { name: "Go on" }).click();
    await page.locator("#secret").waitFor();
  }));

test("a provider that is away is a page that says so", async () => {
  acme.close();
  // One that has not asked the provider yet.
  const fresh = await start(acme.variables, acme.flags);
  try {
    await bootstrap(fresh);
    await visit(async (page) => {
      await page.goto("/login");
      await page.getByRole("link", { name: "Continue with Acme" }).click();
      await page.getByText("The provider does not answer at the moment").waitFor();
      await page.getByLabel("Password").waitFor();
    }, fresh);
  } finally {
    await fresh.stop();
  }
});
