// R110: what people do, as they do it.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { after, before, beforeEach } from "node:test";

import { MODES, enter, launch, signInHere, test, unfit, until, visitor } from "./browser.mjs";
import { PASSWORD, signIn, start } from "./server.mjs";

let browser;
let server;
let admin;
let open = [];

before(async () => {
  browser = await launch();
  server = await start();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

beforeEach(async () => {
  for (const one of open) await one.close();
  open = [];
});

/** A visitor, whose faults are looked at when `work` is done. */
async function as(email, work, options) {
  const guest = await visitor(browser, server, options);
  open.push(guest);
  try {
    if (email) await enter(guest.page, email);
    await work(guest.page, guest);
  } catch (error) {
    error.stack += `\n${await describe(guest.page)}`;
    throw error;
  }
  assert.deepEqual(guest.faults, []);
}

/** Describes a page on which a test failed: its address, its messages, and the field with the focus. */
async function describe(page) {
  const read = page.evaluate(() => {
    const said = [...document.querySelectorAll("[role=alert], [role=status]")].map((one) => one.innerText).join(" | ");
    const field = document.activeElement;
    return `says: ${said}; the focus is on ${field?.tagName} ${field?.name ?? ""} with ${field?.value?.length ?? 0} characters`;
  });
  const waited = new Promise((resolve) => setTimeout(resolve, 5000, "answers nothing"));
  return `The page ${page.url()} ${await Promise.race([read, waited]).catch((error) => error.message)}`;
}

/** Registers an agent by the API; answers the API as the agent sees it. */
async function agent(name, scope = ["agents.read"]) {
  const made = await admin.post("/api/agents", { name, scope });
  return server.api(made.auth_token);
}

const stateOf = async (name) => (await admin.get(`/api/agents/${name}`)).state;

test("a server is set up in a browser", () =>
  as(null, async (page) => {
    await page.goto("/");
    await page.waitForURL("**/setup");
    await page.getByLabel("Operator secret").fill("not-the-secret");
    await page.getByLabel("Your name").fill("Ada Example");
    await page.getByLabel("E-mail").fill("ada@example.com");
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByText("Name of the tenant").click();
    await page.getByLabel("Tenant").fill("northwind");
    await page.getByRole("button", { name: "Set up" }).click();
    // What was typed is still there, but no secret.
    await page.getByRole("alert").waitFor();
    assert.equal(await page.getByLabel("Your name").inputValue(), "Ada Example");
    assert.equal(await page.getByLabel("Password").inputValue(), "");
    assert.equal(await page.getByLabel("Operator secret").inputValue(), "");
    await page.getByLabel("Operator secret").fill(server.secret);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set up" }).click();
    await page.waitForURL("**/login?done=set-up&*");
    admin = await signIn(server, "ada@example.com");
    assert.equal((await admin.get("/api/auth/whoami")).role, "admin");
  }));

test("a person signs in and comes to the page that was asked for", () =>
  as(null, async (page) => {
    await page.goto("/agents?q=scout");
    await page.waitForURL("**/login?next=*");
    await signInHere(page, "wrong-horse-battery");
    await page.getByRole("alert").waitFor();
    assert.equal(await page.getByLabel("E-mail").inputValue(), "ada@example.com");
    assert.equal(await page.getByLabel("Password").inputValue(), "");
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.waitForURL("**/agents?q=scout");
  }));

test("an agent is registered, and its token leaves the page when it is hidden", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/");
    await page.getByRole("link", { name: "New agent" }).click();
    await page.getByLabel(/^Name/).fill("Support Desk");
    await page.getByLabel("What it does").fill("Answers tickets");
    await page.getByRole("button", { name: "Register" }).click();
    const token = await page.locator("#secret").textContent();
    const own = await server.api(token).get("/api/auth/whoami");
    assert.equal(own.agent_name, "support-desk");
    await page.getByRole("button", { name: "Hide" }).click();
    assert.ok(!(await page.content()).includes(token));
    await page.getByRole("link", { name: "Done" }).click();
    await page.waitForURL("**/agents/support-desk");
    // Chromium does not keep the answer to the form, and asks before it would send it again.
    await page.goBack().catch(() => {});
    await page.waitForLoadState();
    // While the browser still goes from page to page there is nothing to read.
    const content = () => page.content().catch(() => page.waitForLoadState().then(content));
    assert.ok(!(await content()).includes(token));
  }));

test("a wrong field says so beside it, and keeps what was typed", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/register");
    await page.getByLabel(/^Name/).fill("///");
    await page.getByLabel("What it does").fill("Answers tickets");
    await page.getByRole("button", { name: "Register" }).click();
    const name = page.locator("input[name=name]");
    await page.locator("[aria-invalid=true]").waitFor();
    assert.equal(await name.getAttribute("aria-invalid"), "true");
    const told = await name.getAttribute("aria-describedby");
    assert.ok((await page.locator(`#${told.split(" ").pop()}`).textContent()).length > 5);
    assert.equal(await page.getByLabel("What it does").inputValue(), "Answers tickets");
  }));

test("a part of a request is approved, and another one is denied with a word", () =>
  as("ada@example.com", async (page) => {
    const scout = await agent("scout");
    const ask = (scope) => scout.post("/api/access-requests", { scope, reason: "For ticket 8812" });
    await ask(["agents.create", "agents.update"]);
    await page.goto("/");
    await page.getByRole("link", { name: /Decide/ }).first().click();
    await page.getByText("For ticket 8812").first().waitFor();
    await page.getByRole("checkbox", { name: /agents\.update/ }).uncheck();
    await page.getByLabel("For how many hours").fill("2");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("status").first().waitFor();
    assert.deepEqual((await scout.get("/api/auth/whoami")).scope, ["agents.read", "agents.create"]);
    const other = await ask(["agents.lifecycle"]);
    // By the notification, which leads to the page that decides.
    await page.goto("/notifications");
    await page.getByRole("link", { name: /Decide/ }).first().click();
    await page.waitForURL(`**/access/${other.id}`);
    await page.getByLabel("A word to the agent").fill("Not today");
    await page.getByRole("button", { name: "Deny" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await admin.get(`/api/access-requests/${other.id}`)).state, "denied");
    const told = JSON.stringify(await scout.get("/api/agents/me/inbox"));
    assert.ok(told.includes("Not today"), told);
  }));

test("one request is read in words and approved once, and another request for good", () =>
  as("ada@example.com", async (page) => {
    const clerk = await agent("clerk");
    const sent = { name: "clerks-helper" };
    const refused = await clerk.send("POST", "/api/agents", sent);
    assert.equal(refused.status, 403);
    const asked = await clerk.post("/api/access-requests", refused.json.ask.body);
    await page.goto("/access");
    await page.getByText("Register an agent and issue its token").first().waitFor();
    await page.getByRole("link", { name: "Decide… about clerk" }).click();
    await page.getByRole("heading", { name: "Let clerk do this?" }).waitFor();
    await page.getByText("POST /api/agents", { exact: true }).waitFor();
    const choices = page.getByRole("radio");
    assert.deepEqual(await choices.evaluateAll((all) => all.map(({ value, checked, disabled }) => [value, checked, disabled])), [
      ["once", true, false],
      ["hours", false, false],
      ["always", false, true],
    ]);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await clerk.send("POST", "/api/agents", sent)).status, 201);
    assert.equal((await clerk.send("POST", "/api/agents", sent)).status, 403);
    await page.goto(`/access/${asked.id}`);
    await page.getByText("Used", { exact: true }).first().waitFor();
    // For good, once the ceiling has it.
    const listing = await clerk.post("/api/access-requests", { scope: "agents.list", reason: "To see who there is" });
    await admin.must("PATCH", "/api/agents/clerk", { scope: ["agents.read", "agents.list"] });
    await page.goto(`/access/${listing.id}`);
    await page.getByRole("radio", { name: "For good" }).check();
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByRole("status").first().waitFor();
    const decided = await admin.get(`/api/access-requests/${listing.id}`);
    assert.deepEqual([decided.state, decided.lasts, decided.ends_at], ["approved", "always", null]);
    await clerk.get("/api/agents");
  }));

test("several requests are decided in one go", () =>
  as("ada@example.com", async (page) => {
    const many = await agent("many");
    const ask = (scope) => many.post("/api/access-requests", { scope: [scope], reason: "For all of it", hours: 2 });
    const [one, two, three] = [await ask("agents.create"), await ask("agents.update"), await ask("agents.logs")];
    const state = async ({ id }) => (await admin.get(`/api/access-requests/${id}`)).state;
    await page.goto("/access?q=For+all&state=open");
    await page.getByRole("button", { name: "Tick all" }).click();
    await page.getByRole("checkbox", { name: /agents\.logs/ }).uncheck();
    // Another person is faster with one of them.
    await admin.post(`/api/access-requests/${two.id}/deny`, {});
    await page.getByRole("button", { name: "Allow what is ticked" }).click();
    const note = page.getByRole("alert");
    await note.getByText("1 of 2 requests are approved.").waitFor();
    assert.match(await note.innerText(), /many, agents\.update:.*already denied/);
    assert.deepEqual([await state(one), await state(two), await state(three)], ["approved", "denied", "open"]);
    // The same list is there again, to go on with.
    assert.equal(await page.getByRole("searchbox").inputValue(), "For all");
    await page.getByRole("checkbox", { name: /agents\.logs/ }).check();
    await page.getByRole("button", { name: "Deny what is ticked" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal(await state(three), "denied");
  }));

test("two people who decide at once: the second one is told what the first one did", async () => {
  const noor = await admin.post("/api/users", { email: "noor@example.com", name: "Noor", role: "admin" });
  await admin.post(`/api/users/${noor.id}/set-password`, { password: PASSWORD });
  const racer = await agent("racer");
  const { id } = await racer.post("/api/access-requests", { scope: ["agents.update"], reason: "Two at once" });
  await as("ada@example.com", async (first) => {
    await as("noor@example.com", async (second) => {
      await first.goto(`/access/${id}`);
      await second.goto(`/access/${id}`);
      await first.getByRole("button", { name: "Approve" }).click();
      await first.getByRole("status").first().waitFor();
      await second.getByRole("button", { name: "Deny" }).click();
      await second.getByRole("alert").waitFor();
      // And sees how it stands now, with no form that could still decide.
      await second.locator("h1 + .state.good, .state.good").first().waitFor();
      assert.equal(await second.getByRole("button", { name: "Deny" }).count(), 0);
      assert.equal((await admin.get(`/api/access-requests/${id}`)).state, "approved");
    });
  });
});

test("one agent is stopped by a click, and all by two", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/");
    await page.getByRole("button", { name: "Stop scout" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal(await stateOf("scout"), "stopped");
    assert.equal(await stateOf("racer"), "running");
    await page.getByRole("link", { name: /Stop all/ }).click();
    await page.waitForURL("**/stop-all");
    await page.getByRole("button", { name: /^Stop/ }).click();
    await page.getByRole("status").first().waitFor();
    for (const { state } of (await admin.get("/api/agents")).items) assert.equal(state, "stopped");
  }));

test("an agent's settings are changed, it is archived, restored and purged", () =>
  as("ada@example.com", async (page) => {
    await agent("short-lived");
    await page.goto("/agents/short-lived/settings");
    await page.getByLabel("What it does").fill("Looks after the garden");
    await page.getByLabel("Labels").fill("team: garden\nregion: eu");
    await page.getByLabel("Budget").fill("12.50");
    await page.getByLabel("Silent after").fill("30");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").first().waitFor();
    const changed = await admin.get("/api/agents/short-lived");
    assert.equal(changed.description, "Looks after the garden");
    assert.deepEqual(changed.labels, { team: "garden", region: "eu" });
    assert.equal(changed.budget_cents, 1250);
    assert.equal(changed.silent_after_minutes, 30);
    await page.getByLabel("Silent after").fill("");
    // The page that is open has a note already: what is waited for is the answer to the form.
    const isSaved = (answer) => answer.request().method() === "POST";
    await Promise.all([page.waitForResponse(isSaved), page.getByRole("button", { name: "Save" }).click()]);
    assert.equal((await admin.get("/api/agents/short-lived")).silent_after_minutes, null);
    await page.goto("/agents/short-lived");
    await page.getByText("Archive…").click();
    await page.getByRole("button", { name: "Archive short-lived" }).click();
    await page.waitForURL("**/agents?done=archived&closure=*");
    assert.equal((await admin.send("GET", "/api/agents/short-lived")).status, 404);
    await page.getByRole("link", { name: "Archived" }).click();
    await page.getByRole("button", { name: /Restore/ }).first().click();
    await page.waitForURL("**/agents/short-lived?done=restored");
    assert.equal(await stateOf("short-lived"), "stopped");
    await admin.must("DELETE", "/api/agents/short-lived");
    await page.goto("/archived");
    await page.getByRole("link", { name: /Purge/ }).first().click();
    await page.getByRole("button", { name: /Purge/ }).click();
    await page.waitForURL("**/archived?done=purged");
    assert.deepEqual((await admin.get("/api/agents/archived")).items, []);
  }));

// R697
test("what was typed into a form of settings is lost to no other form without a question", () =>
  as("ada@example.com", async (page, guest) => {
    await agent("half-typed");
    await page.goto("/agents/half-typed/settings");
    const asked = [];
    page.on("dialog", (dialog) => asked.push(dialog.type()));
    await page.getByLabel("What it does").pressSequentially("Answers tickets.");
    await page.getByRole("button", { name: "Set the ceiling" }).click();
    await until("a question", () => asked.length === 1);
    assert.equal(asked[0], "beforeunload");
    assert.equal(await page.getByLabel("What it does").inputValue(), "Answers tickets.");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    assert.equal(await page.getByLabel("What it does").inputValue(), "Answers tickets.");
    await page.getByRole("link", { name: "History" }).click();
    await page.waitForURL("**/history");
    assert.equal(asked.length, 1);
    // The one dialog that is meant.
    assert.deepEqual(guest.faults.splice(0), ["dialog: "]);
  }));

test("a token is made and revoked, by its owner and by an admin", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/tokens?new=1");
    await page.getByLabel(/^Name/).fill("laptop");
    // R357: Enter makes no token that may do everything, and none of nothing.
    assert.equal(await page.getByLabel(/^Look after your agents/).isChecked(), true);
    await page.getByLabel(/^Only what is ticked/).check();
    await page.getByLabel(/^Name/).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    assert.equal((await admin.get("/auth/tokens")).items.length, 0);
    assert.equal(await page.getByLabel(/^Name/).inputValue(), "laptop");
    await page.locator('[name=scope][value="agents.list"]').check();
    await page.getByLabel(/^Everything/).check();
    assert.equal(await page.locator('[value="agents.list"]').isVisible(), false, "nothing is to tick for everything");
    await page.getByLabel(/^Only what is ticked/).check();
    await page.getByRole("button", { name: "Make the token" }).click();
    const first = server.api(await page.locator("#secret").textContent());
    assert.equal(await page.getByText("It may do: agents.list").count(), 1);
    assert.deepEqual((await first.get("/api/auth/whoami")).scope, ["agents.list"]);
    await page.goto("/tokens");
    await page.locator("summary", { hasText: "laptop" }).click();
    await page.getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await first.send("GET", "/api/auth/whoami")).json.error, "token_revoked");
    const made = await admin.post("/auth/tokens", { name: "second" });
    await page.goto("/admin/tokens?kind=pat");
    await page.locator("summary", { hasText: "second" }).click();
    await page.getByRole("button", { name: /revoke/i }).first().click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await server.api(made.token).send("GET", "/api/auth/whoami")).json.error, "token_revoked");
  }));

test("a coding agent is set up with a text to copy, also where the clipboard is blocked", () =>
  as("ada@example.com", async (page, { context }) => {
    await page.goto("/");
    await page.getByRole("link", { name: "Set up a coding agent" }).click();
    // Before anything is made the same text is shown with a placeholder.
    const preview = await page.locator("[data-preview]").textContent();
    await page.getByRole("button", { name: "Make a token and the text" }).click();
    const text = await page.locator("#secret").textContent();
    const token = text.match(/acr_pat_\S+/)[0];
    assert.equal(text.replaceAll(token, "acr_pat_…"), preview);
    await server.api(token).get("/api/auth/whoami");
    await page.getByRole("button", { name: "Copy" }).click();
    await page.getByText("Copied.").waitFor();
    // What is in the clipboard is pasted, as a person does it: no page may read it without being asked for a permission.
    const other = await context.newPage();
    await other.setContent("<textarea></textarea>");
    await other.locator("textarea").focus();
    await other.keyboard.press("Control+V");
    assert.equal(await other.locator("textarea").inputValue(), text);
    await other.close();
    await page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error("blocked"));
    });
    await page.getByRole("button", { name: "Copy" }).click();
    const field = page.getByRole("textbox", { name: /copy/i });
    assert.equal(await field.inputValue(), text);
    assert.equal(await field.evaluate((one) => one === document.activeElement && one.selectionEnd - one.selectionStart), text.length);
    await page.getByRole("button", { name: "Hide" }).click();
    assert.ok(!(await page.content()).includes(token));
    assert.equal(await page.locator("textarea").count(), 0);
  }));

test("the trail is exported as a file", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/admin/audit?action=agent.create");
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: /Export/ }).click()]);
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    const rows = Buffer.concat(chunks).toString().trim().split("\n").map((line) => JSON.parse(line));
    assert.match(download.suggestedFilename(), /\.ndjson$/);
    assert.ok(rows.length > 2 && rows.every((row) => row.action === "agent.create"), JSON.stringify(rows));
  }));

/** R339: days of filters are those of the visitor; what somebody else asked for in another zone, or in UTC, stays what it is. */
test("a day of a filter is one of the visitor's time zone", () =>
  as("ada@example.com", async (page) => {
    const asked = () => new URL(page.url()).searchParams;
    const filter = () => Promise.all([page.waitForURL(/since=/), page.getByRole("button", { name: "Filter" }).click()]);
    await page.goto("/admin/audit");
    // Clocks go forward on the 29th of March 2026: it ends an hour nearer to UTC's day before than it began.
    await page.getByLabel("From (your time)").fill("2026-03-29");
    await page.getByLabel("to (your time)").fill("2026-03-29");
    await filter();
    assert.deepEqual([asked().get("since"), asked().get("until")], ["2026-03-29+01:00", "2026-03-29+02:00"]);
    assert.equal(await page.getByLabel("From (your time)").inputValue(), "2026-03-29");
    assert.match(await page.locator("main form[action='/admin/audit/export'] [name=since]").inputValue(), /^2026-03-29\+01:00$/);
    for (const [since, label] of [["2026-01-31", "From (UTC)"], ["2026-01-31-05:00", "From (UTC-05:00)"]]) {
      await page.goto(`/admin/audit?since=${encodeURIComponent(since)}`);
      assert.equal(await page.getByLabel(label).inputValue(), "2026-01-31");
      await page.getByLabel("Outcome").selectOption("done");
      await filter();
      assert.equal(asked().get("since"), since);
    }
    await page.getByLabel("From (UTC-05:00)").fill("2026-07-01");
    await page.getByLabel("From (your time)").waitFor();
    await filter();
    assert.equal(asked().get("since"), "2026-07-01+02:00");
  }, { ...MODES.light, timezoneId: "Europe/Berlin" }));

/**
 * What a keyboard does in a page. Whatever Tab stops at can be seen: it is in the window, below no header, and has an outline of its own.
 */
function keyboard(page) {
  const focused = () =>
    page.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body) return "the page itself";
      const said = [one.innerText, one.name, one.getAttribute("aria-label"), one.labels?.[0]?.innerText].filter(Boolean).join(" ");
      return said.replace(/\s+/g, " ") || one.tagName;
    });
  /** Presses Tab; answers what has the focus then. */
  const tab = async () => {
    await page.keyboard.press("Tab");
    const fault = await page.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body) return "";
      // The box of a choice stands beside its words.
      const [box, bar, style] = [one.getBoundingClientRect(), document.querySelector(".bar"), getComputedStyle(one)];
      if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return "has no outline";
      if (box.width < 1 || box.height < 1 || box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth) return "is out of sight";
      if (bar && !bar.contains(one) && !one.matches(".skip") && box.bottom <= bar.getBoundingClientRect().bottom) return "is below the header";
      return "";
    });
    const name = await focused();
    assert.equal(fault, "", `what has the focus (${name}) ${fault} at ${page.url()}`);
    return name;
  };
  /** Presses Tab until this has the focus. */
  const to = async (wanted) => {
    for (let i = 0; i < 120; i++) if ((await tab()).includes(wanted)) return;
    assert.fail(`${wanted} cannot be reached at ${page.url()}; the focus is on ${await focused()}`);
  };
  const press = (key) => page.keyboard.press(key);
  /** Presses a key that leads away. The page that took it may be gone before it says so: what comes of it is waited for, and not its word. */
  const leave = (key) => void press(key).catch(() => {});
  /** Waits until the page was drawn. Only then does its first field have the focus; what is typed before that is lost. */
  const drawn = async () => {
    await page.waitForLoadState();
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  };
  /** Follows what has the focus; answers once the page is there. */
  const follow = async (key, where) => {
    leave(key);
    await page.waitForURL(where);
    await drawn();
  };
  return { focused, tab, to, press, leave, drawn, follow, type: (text) => page.keyboard.type(text) };
}

// R400: no pointer, and no address that is typed, from the sign-in to the sign-out.
test("everything can be done with the keyboard alone", () =>
  as(null, async (page) => {
    const keys = await agent("by-keyboard");
    const asked = await keys.post("/api/access-requests", { scope: ["agents.logs", "agents.update"], reason: "By keyboard" });
    const { focused, tab, to, press, leave, drawn, follow, type } = keyboard(page);
    await page.goto("/login?tenant=northwind");
    await drawn();
    // The first field has the focus already. What was wrong has it again.
    await type("ada@example.com");
    await to("Password");
    await type("wrong-horse-battery");
    leave("Enter");
    await page.getByRole("alert").waitFor();
    await drawn();
    assert.ok((await focused()).includes("Password"), await focused());
    await type(PASSWORD);
    await follow("Enter", (url) => url.pathname === "/");
    // A new page begins at its top; one key leads past the header.
    assert.equal(await tab(), "Skip to content");
    await press("Enter");
    await tab();
    assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)), await focused());

    // A part of a request is approved, and another one is ticked in the list.
    await to("Requests");
    await follow("Enter", (url) => url.pathname === "/access");
    await to("Decide… about by-keyboard");
    await follow("Enter", `**/access/${asked.id}`);
    await to("agents.update");
    await press("Space");
    await to("For how many hours");
    await press("Control+A");
    await type("2");
    await to("Approve");
    await follow("Space", "**/access?done=approved*");
    assert.deepEqual((await admin.get(`/api/access-requests/${asked.id}`)).granted, ["agents.logs"]);
    const other = await (await agent("asks-keys")).post("/api/access-requests", { scope: ["agents.logs"], reason: "By keyboard too" });
    await to("Words of agent, scope or reason");
    await type("By keyboard too");
    await follow("Enter", "**/access?*q=By+keyboard+too*");
    await to("Tick the request of asks-keys");
    await press("Space");
    await to("Allow what is ticked");
    leave("Enter");
    await page.getByRole("status").first().waitFor();
    await drawn();
    assert.equal((await admin.get(`/api/access-requests/${other.id}`)).state, "approved");

    // An agent is opened, paused by Space and stopped by Enter.
    await to("Agents");
    await follow("Enter", "**/agents");
    await to("by-keyboard");
    await follow("Enter", "**/agents/by-keyboard");
    await to("Pause");
    await follow("Space", "**/agents/by-keyboard?done=paused*");
    assert.equal(await stateOf("by-keyboard"), "paused");
    await to("Stop");
    await follow("Enter", "**/agents/by-keyboard?done=stopped*");
    assert.equal(await stateOf("by-keyboard"), "stopped");
    // A step that is meant twice opens, closes by Escape, and gives the focus back.
    await to("Credentials");
    await to("Credentials");
    await follow("Enter", "**/agents/by-keyboard/credentials");
    await to("Revoke…");
    await press("Enter");
    await to("Yes, revoke it");
    await press("Escape");
    assert.equal(await page.getByRole("button", { name: "Yes, revoke it" }).isVisible(), false);
    assert.ok((await focused()).includes("Revoke…"));
    // A secret is hidden: the keyboard goes on beside it, and not from the top.
    await to("Replace the token…");
    await press("Enter");
    await to("Issue");
    leave("Enter");
    await page.locator("#secret").waitFor();
    await drawn();
    await to("Hide");
    await press("Enter");
    assert.ok((await focused()).includes("Hidden for good."), await focused());
    assert.equal(await tab(), "Done");
    await follow("Enter", "**/agents/by-keyboard/credentials");
    await to("Account of");
    await press("Enter");
    await to("Security and sessions");
    await press("Escape");
    assert.ok((await focused()).includes("Account of"));
    await press("Enter");
    await to("Sign out");
    await follow("Enter", "**/login?done=signed-out");
  }));

test("everything works on a phone", () =>
  as("ada@example.com", async (page) => {
    await agent("pocket");
    await page.goto("/agents?q=pocket");
    await page.getByRole("button", { name: "Stop pocket" }).tap();
    await page.getByRole("status").first().waitFor();
    assert.equal(await stateOf("pocket"), "stopped");
    await page.getByRole("link", { name: "pocket", exact: true }).tap();
    await page.waitForURL("**/agents/pocket");
    await page.getByRole("button", { name: "Start" }).tap();
    await page.waitForURL("**/agents/pocket?done=*");
    assert.equal(await stateOf("pocket"), "running");
    const asked = await (await agent("asks-phone")).post("/api/access-requests", { scope: ["agents.logs"], reason: "By phone" });
    await page.goto("/access?q=By+phone");
    await page.getByRole("checkbox", { name: /asks-phone/ }).tap();
    await page.getByRole("button", { name: "Deny what is ticked" }).tap();
    await page.getByRole("status").first().waitFor();
    assert.equal((await admin.get(`/api/access-requests/${asked.id}`)).state, "denied");
  }, MODES.phone));

// R401: the first day of a company, by one thumb.
test("a server is set up, a request approved and an agent stopped on a phone", async () => {
  const own = await start();
  const guest = await visitor(browser, own, MODES.phone);
  const { page } = guest;
  const seen = [];
  /** Looks at the page that is open. */
  const look = async () => seen.push(...(await unfit(page)).map((text) => `${new URL(page.url()).pathname}: ${text}`));
  const tap = (role, name, exact = false) => page.getByRole(role, { name, exact }).first().tap();
  try {
    await page.goto("/");
    await page.waitForURL("**/setup");
    await look();
    for (const [label, text] of [["Operator secret", own.secret], ["Your name", "Ada Example"], ["E-mail", "ada@example.com"], ["Password", PASSWORD]]) {
      await page.getByLabel(label).fill(text);
    }
    await tap("button", "Set up");
    await page.waitForURL("**/login?done=set-up&*");
    await look();
    await page.getByLabel("E-mail").fill("ada@example.com");
    await page.getByLabel("Password").fill(PASSWORD);
    await tap("button", "Sign in", true);
    await page.waitForURL((url) => url.pathname === "/");
    await look();
    await tap("link", "New agent");
    await page.waitForURL("**/register");
    await look();
    await page.getByLabel(/^Name/).fill("pocket");
    await tap("button", "Register");
    const token = await page.locator("#secret").textContent();
    await look();
    await tap("button", "Hide");
    await tap("link", "Done");
    await page.waitForURL("**/agents/pocket");
    await look();
    const scout = own.api(token);
    const { id } = await scout.post("/api/access-requests", { scope: ["agents.create", "agents.update"], reason: "On the way" });
    await tap("link", "Requests");
    await page.waitForURL("**/access");
    await look();
    await tap("link", "Decide…");
    await page.waitForURL(`**/access/${id}`);
    await look();
    await page.getByRole("checkbox", { name: /agents\.update/ }).tap();
    await tap("button", "Approve");
    await page.waitForURL("**/access?done=approved*");
    assert.deepEqual((await scout.get(`/api/access-requests/${id}?wait=0`)).granted, ["agents.create"]);
    await look();
    await tap("link", "Agents", true);
    await page.waitForURL("**/agents");
    await look();
    await tap("link", "pocket", true);
    await page.waitForURL("**/agents/pocket");
    await tap("button", "Stop");
    await page.waitForURL("**/agents/pocket?done=stopped*");
    await look();
    assert.equal((await scout.send("GET", "/api/agents")).json.error, "agent_stopped");
    assert.deepEqual([seen, guest.faults], [[], []]);
  } finally {
    await guest.close();
    await own.stop();
  }
});

test("everything works without scripts", () =>
  as(null, async (page) => {
    await agent("plainly");
    await enter(page);
    await page.getByRole("button", { name: "Stop plainly" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal(await stateOf("plainly"), "stopped");
    await page.goto("/tokens?new=1");
    await page.getByLabel(/^Name/).fill("without scripts");
    await page.getByLabel(/^Everything/).check();
    await page.getByRole("button", { name: "Make the token" }).click();
    const token = await page.locator("#secret").textContent();
    await server.api(token).get("/api/auth/whoami");
    assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0);
    const asked = await (await agent("asks-plainly")).post("/api/access-requests", { scope: ["agents.logs"], reason: "Plainly" });
    await page.goto("/access?q=Plainly");
    assert.equal(await page.getByRole("button", { name: "Tick all" }).count(), 0);
    await page.getByRole("checkbox", { name: /asks-plainly/ }).check();
    await page.getByRole("button", { name: "Allow what is ticked" }).click();
    await page.getByRole("status").first().waitFor();
    assert.equal((await admin.get(`/api/access-requests/${asked.id}`)).state, "approved");
  }, { ...MODES.light, javaScriptEnabled: false }));

/**
 * An app on this computer, registered by this name: a page with a link, and the place that its person is sent back to. `asks` is what its
 * request holds beside the client, the redirect URI and S256. `moves`: its person is sent on from there to another of its sites.
 */
async function startApp(name, asks, moves = false) {
  const client = await admin.post("/api/oauth/clients", { name, redirect_uris: ["http://127.0.0.1/cb"] });
  let back;
  const returned = new Promise((resolve) => (back = resolve));
  const app = createServer((asked, answer) => {
    const url = new URL(asked.url, "http://127.0.0.1");
    answer.setHeader("content-type", "text/html; charset=utf-8");
    if (url.pathname === "/cb") back(url.searchParams);
    // An app may send its person on to another of its sites.
    if (url.pathname === "/cb" && moves) return answer.writeHead(302, { location: `http://localhost:${app.address().port}/there` }).end();
    const link = `<a href="${request.replaceAll("&", "&amp;")}">Connect</a>`;
    answer.end(`<!doctype html><html lang="en"><title>App</title><h1>${["/cb", "/there"].includes(url.pathname) ? "You are back" : link}</h1></html>`);
  });
  await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${app.address().port}`;
  const callback = `${url}/cb`;
  const all = { response_type: "code", client_id: client.id, redirect_uri: callback, code_challenge_method: "S256", ...asks };
  const request = `${server.url}/oauth/authorize?${new URLSearchParams(all)}`;
  return { url, client_id: client.id, callback, request, returned, stop: () => app.close() };
}

test("an app is let in by a person who signs in for it, works, and is ended", async () => {
  const verifier = randomBytes(32).toString("base64url");
  const state = randomBytes(8).toString("hex");
  const code_challenge = createHash("sha256").update(verifier).digest("base64url");
  const app = await startApp("Planner", { code_challenge, scope: "agents.list tokens.read tokens.write", state });
  const token = async (fields) => (await server.api().form("/oauth/token", { client_id: app.client_id, ...fields })).json;
  try {
    await as(null, async (page) => {
      await page.goto(app.url);
      await page.getByRole("link", { name: "Connect" }).click();
      await page.waitForURL("**/login?next=*");
      await signInHere(page);
      await page.getByRole("heading", { name: "Let Planner in?" }).waitFor();
      await page.getByRole("checkbox", { name: /tokens\.write/ }).uncheck();
      await page.getByLabel("For how long").selectOption("7");
      await page.getByRole("button", { name: "Allow" }).click();
      await page.getByRole("heading", { name: "You are back" }).waitFor();
      const answer = await app.returned;
      assert.deepEqual([answer.get("state"), answer.get("iss"), answer.get("error")], [state, server.url, null]);
      const form = { grant_type: "authorization_code", code: answer.get("code"), redirect_uri: app.callback, code_verifier: verifier };
      const got = await token(form);
      assert.equal(got.scope, "agents.list tokens.read");
      assert.deepEqual((await server.api(got.access_token).get("/api/auth/whoami")).scope, ["agents.list", "tokens.read"]);
      const next = await token({ grant_type: "refresh_token", refresh_token: got.refresh_token });
      await server.api(next.access_token).get("/api/agents");
      await page.goto(`${server.url}/tokens`);
      await page.locator("summary", { hasText: "End…" }).click();
      await page.getByRole("button", { name: "Yes, end it" }).click();
      await page.getByRole("status").first().waitFor();
      assert.equal((await server.api(next.access_token).send("GET", "/api/agents")).status, 401);
      assert.equal((await token({ grant_type: "refresh_token", refresh_token: next.refresh_token })).error, "invalid_grant");
    }, { ...MODES.light, also: [app.url] });
  } finally {
    app.stop();
  }
});

// R480: the app's window and ours stay in touch, from the sign-in to the way back; pages that are no part of that do not.
test("an app lets its person in by a window of its own", async () => {
  const code_challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const app = await startApp("Popup", { code_challenge, scope: "agents.list" });
  try {
    await as(null, async (page, { context }) => {
      await page.goto(app.url);
      const open = async (url) => {
        const [opened] = await Promise.all([context.waitForEvent("page"), page.evaluate((url) => void (window.opened = window.open(url)), url)]);
        return opened;
      };
      const inTouch = async (opened) => [await page.evaluate(() => !window.opened.closed), await opened.evaluate(() => window.opener !== null)];
      const opened = await open(app.request);
      await opened.waitForURL("**/login?next=*");
      await signInHere(opened, "wrong-horse-battery");
      await opened.getByRole("alert").waitFor();
      await opened.getByLabel("Password").fill(PASSWORD);
      await opened.getByRole("button", { name: "Sign in", exact: true }).click();
      await opened.getByRole("button", { name: "Allow" }).click();
      await opened.getByRole("heading", { name: "You are back" }).waitFor();
      assert.deepEqual(await inTouch(opened), [true, true]);
      assert.ok((await app.returned).get("code"));
      await opened.close();
      const other = await open(`${server.url}/agents`);
      await other.getByRole("heading", { name: "Agents" }).waitFor();
      assert.deepEqual(await inTouch(other), [false, false]);
    }, { ...MODES.light, also: [app.url] });
  } finally {
    app.stop();
  }
});

test("an app that is denied on a phone hears of it", async () => {
  const code_challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const app = await startApp("Directory", { code_challenge, scope: "users.read users.write" });
  try {
    await as("ada@example.com", async (page) => {
      await page.goto(app.request);
      await page.getByRole("button", { name: "Deny" }).click();
      await page.getByRole("heading", { name: "You are back" }).waitFor();
      assert.equal((await app.returned).get("error"), "access_denied");
    }, { ...MODES.phone, also: [app.url] });
  } finally {
    app.stop();
  }
});

// R474
test("an app that sends its person on to another of its sites gets its code", async () => {
  const code_challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const app = await startApp("Mover", { code_challenge, scope: "agents.list" }, true);
  try {
    for (const button of ["Allow", "Deny"]) {
      await as("ada@example.com", async (page) => {
        await page.goto(app.request);
        await page.getByRole("button", { name: button }).click();
        await page.waitForURL("http://localhost:*/there");
        await page.getByRole("heading", { name: "You are back" }).waitFor();
      }, { ...MODES.light, also: [app.url, app.url.replace("127.0.0.1", "localhost")] });
    }
  } finally {
    app.stop();
  }
});

// R474: browsers hold each redirect after the form of the sign-in against the policy of its page.
test("an app whose request cannot be granted hears of it after the sign-in", async () => {
  const code_challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
  const app = await startApp("Guesser", { code_challenge, scope: "no.such.scope" });
  try {
    await as(null, async (page) => {
      await page.goto(app.request);
      await page.waitForURL("**/login?next=*");
      await signInHere(page);
      await page.getByRole("heading", { name: "You are back" }).waitFor();
      assert.equal((await app.returned).get("error"), "invalid_scope");
    }, { ...MODES.light, also: [app.url] });
  } finally {
    app.stop();
  }
});

// R476: below 16 px phones enlarge the page; where colours are the visitor's, lines tell what backgrounds told.
test("a phone enlarges no page, and colours of the visitor's own tell what is open", async () => {
  await as("ada@example.com", async (page) => {
    for (const path of ["/agents", "/security", "/register", "/admin/users"]) {
      await page.goto(path);
      const small = await page.evaluate(() =>
        [...document.querySelectorAll("input:not([type=hidden], [type=checkbox], [type=radio]), select, textarea")]
          .filter((one) => parseFloat(getComputedStyle(one).fontSize) < 16).map((one) => one.name));
      assert.deepEqual(small, [], path);
    }
  }, MODES.phone);
  await agent("painter");
  await as("ada@example.com", async (page) => {
    await page.goto("/agents/painter");
    const colours = await page.evaluate(() => {
      const line = (one) => getComputedStyle(one).borderBottomColor;
      const [open, other] = ["a[aria-current]", "a:not([aria-current])"].map((tab) => document.querySelector(`.tabs ${tab}`));
      return { open: line(open), other: line(other) };
    });
    assert.notEqual(colours.open, colours.other);
  }, { ...MODES.dark, forcedColors: "active" });
});

test("a session that has ended leads to the sign-in, and back", () =>
  as("ada@example.com", async (page) => {
    await page.goto("/agents");
    const own = await signIn(server, "ada@example.com");
    await own.must("DELETE", "/auth/sessions");
    admin = own;
    await page.getByRole("link", { name: "Audit" }).click();
    await page.waitForURL("**/login?next=*");
    await signInHere(page);
    await page.waitForURL("**/admin/audit");
    // Without a script, which would cover the page as soon as it hears of the end, before anybody can click.
  }, { ...MODES.light, javaScriptEnabled: false }));

// R155: states change in their places, and not below the pointer; for what is new there is a link; a hidden page holds no stream.
test("an open page shows what changes", () =>
  as("ada@example.com", async (page) => {
    await agent("watched");
    await page.goto("/agents?q=watched");
    const streaming = page.locator("body[data-streaming]");
    await streaming.waitFor({ state: "attached" });
    const state = (word) => page.locator('[data-live="state watched"]', { hasText: word });
    await admin.post("/api/agents/watched/pause");
    await state("Paused").waitFor();
    await page.getByRole("button", { name: "Resume watched" }).waitFor();
    const place = await page.getByRole("button", { name: "Resume watched" }).boundingBox();
    await page.getByRole("button", { name: "Resume watched" }).hover();
    const looked = page.waitForResponse((answer) => answer.url().includes("/agents?q=watched"));
    await admin.post("/api/agents/watched/stop");
    await looked;
    assert.equal(await state("Paused").count(), 1, "what the pointer is over stays");
    assert.deepEqual(await page.getByRole("button", { name: "Resume watched" }).boundingBox(), place);
    await page.mouse.move(1, 1);
    await state("Stopped").waitFor();
    await agent("watched-too");
    await page.getByRole("link", { name: "This page has changed: show it" }).click();
    await page.getByRole("link", { name: "watched-too", exact: true }).waitFor();
    await streaming.waitFor({ state: "attached" });
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await streaming.waitFor({ state: "detached" });
  }));

// R352, R405: what stands in other tabs is covered when their session has ended; what was typed there is still there for the same person.
test("a sign-out in one tab covers the others", () =>
  as("ada@example.com", async (page, { context }) => {
    await page.goto("/register");
    await page.getByLabel("What it does").fill("Half a sentence");
    await page.locator("body[data-streaming]").waitFor({ state: "attached" });
    const other = await context.newPage();
    await other.goto("/agents");
    await other.locator("details.menu summary").click();
    await other.getByRole("button", { name: "Sign out" }).click();
    await other.waitForURL("**/login?done=signed-out");
    await page.getByRole("heading", { name: "You are signed out" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.getByRole("heading", { name: "You are signed out" }).isVisible(), true);
    assert.equal(await page.evaluate(() => document.elementFromPoint(10, 10).tagName), "DIALOG");
    const looks = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    // Another person is another one, also where an address is a part of the other.
    const email = "da@example.com";
    const da = await admin.post("/api/users", { email, name: "Da", role: "member" });
    await admin.post(`/api/users/${da.id}/set-password`, { password: PASSWORD });
    await enter(other, email);
    // Once the second answer is there, the page has read the first one.
    for (let i = 0; i < 2; i++) await Promise.all([page.waitForResponse("**/api/auth/whoami"), looks()]);
    assert.equal(await page.getByRole("heading", { name: "You are signed out" }).isVisible(), true);
    await enter(other);
    await looks();
    await page.getByRole("heading", { name: "You are signed out" }).waitFor({ state: "detached" });
    assert.equal(await page.getByLabel("What it does").inputValue(), "Half a sentence");
  }));

// R353: what a page asks by itself while it is open keeps no session from ending without use.
test("an open page does not use its session", () =>
  as("ada@example.com", async (page, { context }) => {
    await agent("asleep");
    await page.goto("/agents?q=asleep");
    await page.locator("body[data-streaming]").waitFor({ state: "attached" });
    const session = (await context.cookies()).find((cookie) => cookie.name === "accredit").value;
    server.ageUses("ada@example.com");
    await admin.post("/api/agents/asleep/pause");
    await page.locator('[data-live="state asleep"]', { hasText: "Paused" }).waitFor();
    const used = async () => (await admin.get("/auth/sessions")).items.filter((one) => Date.now() - Date.parse(one.last_used_at) < 3_000_000).length;
    // What a person asks for is a use: it is recorded once the answer is on its way.
    await until("the use of the admin's own session is recorded", async () => (await used()) > 0);
    assert.equal(await used(), 1, "the session of the page counts as unused");
    assert.equal((await server.api(session).send("GET", "/api/auth/whoami")).status, 200);
    await until("a use is recorded", async () => (await used()) === 2);
  }));

test("a person signs out", () =>
  as("ada@example.com", async (page, { context }) => {
    const session = (await context.cookies()).find((cookie) => cookie.name === "accredit").value;
    await page.locator("details.menu summary").click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL("**/login?done=signed-out");
    await page.goto("/agents");
    await page.waitForURL("**/login?next=*");
    assert.equal((await server.api(session).send("GET", "/api/auth/whoami")).status, 401);
  }));
