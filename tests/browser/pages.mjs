// R110: every page for people. A page that is not in this list is not tested: add yours when you add it. See docs/testing.md.
//
// name: of its screenshots. path: a path, or a function of the world (world.mjs). as: the visitor's address, by default the admin;
// `null`: nobody. send: fills a form of the page in and sends it, where the page to look at is the form's answer. status: what it
// answers, by default 200. session: the session in the world that the visitor has instead of signing in. elsewhere: the server is asked by a
// name that is no loopback. leads: a site to which the page leads by itself. on: "empty", a server that nobody has set up, or "wired", one with mail and providers; by default one in
// which something is on every page.

import { PASSWORD } from "./server.mjs";

/** Fills in the form that has the button, by the first words of its labels, and presses it. */
const form = (name, fields = {}, ticks = []) => async (tab) => {
  const button = tab.getByRole("button", { name });
  const own = tab.locator("form").filter({ has: button });
  for (const [label, text] of Object.entries(fields)) await own.getByLabel(new RegExp(`^${label}`)).fill(text);
  for (const label of ticks) await own.getByLabel(new RegExp(`^${label}`)).check();
  await button.click();
};

/** The same where the form has to be opened first. */
const folded = (summary, button, fields, ticks) => async (tab) => {
  const closed = tab.locator("details:not([open]) > summary", { hasText: summary });
  if (await closed.count()) await closed.click();
  await form(button, fields, ticks)(tab);
};

export const PAGES = [
  { name: "setup", path: "/setup", as: null, on: "empty" },
  { name: "login", path: "/login", as: null },
  { name: "login-note", path: "/login?done=signed-out", as: null },
  { name: "login-wired", path: "/login", as: null, on: "wired" },
  {
    name: "sign-out",
    path: "/",
    // The form of a page of an earlier session.
    send: (tab) => tab.evaluate(() => {
      const form = document.querySelector("form[action$='/logout']");
      form.elements.csrf.value = "x".repeat(form.elements.csrf.value.length);
      form.submit();
    }),
    status: 403,
  },
  { name: "login-unsafe", path: "/login", as: null, elsewhere: true },
  // Another address each time: five wrong passwords of one would shut its person out of all other pages.
  {
    name: "login-refused",
    path: "/login?tenant=northwind",
    as: null,
    send: (tab) => form("Sign in", { "E-mail": `${Date.now()}@example.com`, Password: "wrong" })(tab),
    status: 401,
  },
  {
    name: "login-factor",
    path: "/login?tenant=northwind",
    as: null,
    on: "wired",
    send: async (tab) => {
      await tab.getByLabel("E-mail").fill("fay@example.com");
      await tab.getByLabel("Password").fill(PASSWORD);
      await tab.getByRole("button", { name: "Sign in", exact: true }).click();
    },
  },
  { name: "forgot", path: "/forgot", as: null },
  { name: "forgot-wired", path: "/forgot?tenant=northwind", as: null, on: "wired" },
  { name: "leaks", path: "/leaks", as: null },
  {
    name: "leaks-refused",
    path: "/leaks",
    as: null,
    send: form("End it", { Credential: "found in a log" }),
    status: 400,
  },
  { name: "link-closed", path: `/auth/email/verify?code=${"x".repeat(43)}`, as: null, status: 410 },
  { name: "reset", path: (world) => world.link("max@example.com", "reset-password"), as: null },
  {
    name: "reset-refused",
    path: (world) => world.link("max@example.com", "reset-password"),
    as: null,
    send: form("Set the password", { Password: "password" }),
    status: 400,
  },
  { name: "reset-closed", path: "/reset", as: null, status: 400 },
  { name: "invite", path: (world) => world.link("ivy@example.com", "invite"), as: null },
  { name: "install-public", path: "/install", as: null },
  { name: "home", path: "/" },
  { name: "home-member", path: "/", as: "max@example.com" },
  { name: "home-viewer", path: "/", as: "lea@example.com" },
  { name: "install", path: "/install" },
  { name: "install-made", path: "/install", on: "wired", send: form("Make a token and the text") },
  { name: "agents", path: "/agents" },
  { name: "agents-none", path: "/agents?q=nothing-like-this" },
  { name: "agents-newest", path: "/agents?sort=created_at" },
  { name: "agents-refused", path: "/agents?state=asleep", status: 400 },
  { name: "agents-archived", path: "/archived" },
  { name: "archived-none", path: "/archived?q=nothing-like-this" },
  { name: "archived-purge", path: (world) => `/archived/${world.archived}` },
  { name: "register", path: "/register" },
  { name: "stop-all", path: "/stop-all" },
  { name: "agent", path: "/agents/support-desk" },
  { name: "agent-paused", path: "/agents/refunds" },
  { name: "agent-settings", path: "/agents/support-desk/settings" },
  { name: "agent-settings-refused", path: "/agents/support-desk/settings", send: form("Save", { "Silent after": "a while" }), status: 422 },
  { name: "agent-secrets", path: "/agents/support-desk/secrets" },
  { name: "agent-secrets-none", path: "/agents/scout/secrets" },
  {
    name: "agent-secret-refused",
    path: "/agents/support-desk/secrets",
    send: folded("Set a secret…", "Set it", { Name: "lower case", Value: "a" }),
    status: 400,
  },
  { name: "agent-credentials", path: "/agents/support-desk/credentials" },
  {
    name: "agent-trust-refused",
    path: "/agents/support-desk/credentials",
    send: folded("Trust workloads…", "Trust them", { Name: "a", Issuer: "https://elsewhere.example.com", Subject: "x" }),
    status: 403,
  },
  { name: "agent-token-made", path: "/agents/translator/credentials", send: folded(/Replace the token…|Issue a token…/, "Issue", {}) },
  { name: "agent-key", path: (world) => `/agents/support-desk/key?key=${world.key}` },
  { name: "agent-sharing", path: "/agents/support-desk/sharing" },
  { name: "agent-why", path: "/agents/support-desk/why?subject=max@example.com&action=delete" },
  { name: "agent-log", path: "/agents/support-desk/log" },
  { name: "agent-log-none", path: "/agents/support-desk/log?q=nothing-like-this&level=error" },
  { name: "agent-place-refused", path: "/agents/support-desk/settings", send: folded("Give it away…", "Give it away", { "New owner": "nobody@example.com" }), status: 404 },
  { name: "agent-history", path: "/agents/support-desk/history" },
  { name: "access", path: "/access" },
  { name: "access-waiting", path: "/access?state=open&sort=name" },
  {
    name: "access-nothing-ticked",
    path: "/access",
    send: async (tab) => tab.getByRole("button", { name: "Deny what is ticked" }).click(),
    status: 400,
  },
  { name: "access-denied", path: "/access?state=denied" },
  { name: "access-none", path: "/access?agent=nothing-like-this" },
  { name: "decide", path: (world) => `/access/${world.request}` },
  { name: "decide-once", path: (world) => `/access/${world.exact}` },
  { name: "decided", path: (world) => `/access/${world.given}` },
  { name: "tokens", path: "/tokens" },
  { name: "tokens-all", path: "/tokens?status=all&sort=expires_at" },
  { name: "tokens-ending", path: "/tokens?status=expiring&kind=any" },
  { name: "tokens-none", path: "/tokens?q=nothing-like-this" },
  { name: "token-made", path: "/tokens?new=1", on: "wired", send: form("Make the token", { Name: "laptop" }, ["Everything"]) },
  { name: "token-refused", path: "/tokens?new=1", send: form("Make the token", { Name: "laptop" }, ["Only what is ticked"]), status: 400 },
  { name: "device", path: "/device" },
  { name: "device-code", path: async (world) => `/device?user_code=${await world.device()}` },
  { name: "device-open", path: async (world) => `/device?user_code=${await world.device("")}` },
  { name: "device-unknown", path: "/device?user_code=BCDF-GHJK", status: 404 },
  { name: "authorize", path: (world) => world.authorize },
  { name: "authorize-open", path: (world) => world.authorize.replace(/&scope=[^&]*/, ""), as: "max@example.com" },
  { name: "authorize-unknown", path: "/oauth/authorize?client_id=cli_nobody", status: 400 },
  { name: "notifications", path: "/notifications" },
  { name: "notifications-high", path: "/notifications?show=high" },
  { name: "notifications-none", path: "/notifications?q=nothing-like-this" },
  { name: "guides", path: "/guides" },
  { name: "guides-found", path: "/guides?q=refunds&source=app:crm", as: "max@example.com" },
  { name: "guides-refused", path: `/guides?q=${"x".repeat(201)}`, status: 400 },
  { name: "guide", path: "/guides/app:crm/refunds" },
  { name: "security", path: "/security" },
  { name: "security-wired", path: "/security", on: "wired" },
  {
    name: "security-refused",
    path: "/security",
    as: "max@example.com",
    send: form("Change it", { "Current password": PASSWORD, "New password": "password" }),
    status: 400,
  },
  { name: "address", path: "/security/address?code=abc", on: "wired" },
  { name: "address-closed", path: "/security/address?code=abc", status: 410 },
  {
    name: "address-refused",
    path: "/security",
    on: "wired",
    send: form("Mail me a link", { "New address": "ADA@example.com" }),
    status: 409,
  },
  { name: "recovery", path: "/security", on: "wired", session: "factor", send: form("New recovery codes") },
  {
    name: "prove",
    path: "/security",
    as: "max@example.com",
    // A proof that does not hold is asked for again; without one the page comes a quarter of an hour after the sign-in. Not a password: each
    // wrong one counts, and soon nobody signs in.
    send: async (tab) => {
      await tab.locator("form[action$='/security/begin']").evaluate((own) => {
        own.append(Object.assign(document.createElement("input"), { type: "hidden", name: "proof_code", value: "000000" }));
        own.querySelector("button").click();
      });
    },
    status: 422,
  },
  {
    name: "again",
    path: "/tokens?new=1",
    on: "wired",
    session: "again",
    send: async (tab) => {
      const own = tab.locator("form", { has: tab.getByRole("button", { name: "Make the token" }) });
      await own.getByLabel(/^Name/).fill("night build");
      await own.getByLabel(/^Everything/).check();
      await own.getByLabel("It ends after").selectOption("never");
      await own.getByRole("button", { name: "Make the token" }).click();
    },
    status: 403,
  },
  { name: "leave", path: "/security", on: "wired", leads: "https://github.com/", send: form(/Link GitHub/) },
  { name: "factor", path: "/security", on: "wired", send: form(/Set it up|Begin again/) },
  { name: "tenant", path: "/admin/tenant" },
  {
    name: "tenant-refused",
    path: "/admin/tenant",
    send: async (tab) => {
      const ticked = tab.locator("[name=way]:checked");
      while (await ticked.count()) await ticked.first().uncheck();
      await form("Save")(tab);
    },
    status: 400,
  },
  { name: "webhooks", path: "/admin/webhooks" },
  { name: "webhooks-none", path: "/admin/webhooks", as: "max@example.com" },
  {
    name: "webhook-refused",
    path: "/admin/webhooks",
    send: folded("New webhook…", "Make the webhook", { Address: "https://elsewhere.example.com/" }),
    status: 403,
  },
  { name: "webhooks-found", path: "/admin/webhooks?q=desk&sort=name" },
  { name: "webhook", path: (world) => `/admin/webhooks/${world.webhook}` },
  { name: "webhook-delivery", path: (world) => `/admin/webhooks/${world.webhook}?delivery=${world.delivery}` },
  { name: "outbox", path: "/admin/outbox" },
  { name: "outbox-wired", path: "/admin/outbox", on: "wired" },
  { name: "outbox-none", path: "/admin/outbox?state=sent" },
  { name: "clients", path: "/admin/clients" },
  {
    name: "client-refused",
    path: "/admin/clients",
    send: folded("New client…", "Register the client", { Name: "Planner", "Redirect URIs": "http://elsewhere.example.com/" }),
    status: 400,
  },
  { name: "clients-none", path: "/admin/clients?q=nothing-like-this" },
  { name: "client", path: (world) => `/admin/clients/${world.client}` },
  {
    name: "client-secret",
    path: "/admin/clients",
    on: "wired",
    send: folded("New client…", "Register the client", { Name: "Planner", "Redirect URIs": "https://planner.example.com/cb" }, ["It can keep a secret"]),
  },
  { name: "resources", path: "/admin/resources" },
  {
    name: "resource-refused",
    path: "/admin/resources",
    send: folded("New service…", "Register the service", { Identifier: "https://crm.example.com", Scopes: "x.nothing.like.this" }),
    status: 422,
  },
  { name: "resource", path: (world) => `/admin/resources/${world.service}` },
  { name: "presets", path: "/admin/presets" },
  {
    name: "preset-refused",
    path: "/admin/presets",
    send: folded("New preset…", "Make the preset", { Name: "worker" }, ["ui.notify"]),
    status: 400,
  },
  { name: "preset", path: "/admin/presets/engineer" },
  { name: "scopes", path: "/admin/scopes" },
  {
    name: "scope-refused",
    path: "/admin/scopes",
    send: folded("New scope…", "Define the scope", { Name: "crm.read", "What it allows": "Read customers." }),
    status: 400,
  },
  { name: "users", path: "/admin/users" },
  { name: "user", path: (world) => `/admin/users/${world.people["max@example.com"]}` },
  { name: "user-linked", path: (world) => `/admin/users/${world.linked}`, on: "wired" },
  { name: "users-sorted", path: "/admin/users?sort=name&state=invited&role=member" },
  { name: "link-shown", path: (world) => `/admin/users/${world.people["max@example.com"]}`, send: form("Show a link to hand over") },
  { name: "all-tokens", path: "/admin/tokens" },
  { name: "all-tokens-of", path: (world) => `/admin/tokens?user=${world.people["max@example.com"]}` },
  { name: "audit", path: "/admin/audit" },
  { name: "audit-verified", path: "/admin/audit?verify=1" },
  { name: "audit-refused", path: "/admin/audit?since=tomorrow", status: 400 },
  { name: "outage", path: (world) => `/closures/${world.closure}/receipt`, status: 503 },
  { name: "refused", path: "/admin/users", as: "max@example.com", status: 403 },
  { name: "missing", path: "/agents/nothing-like-this", status: 404 },
];

/** The path of a page in a world. */
export const pathOf = (page, world) => (typeof page.path === "function" ? page.path(world) : page.path);
