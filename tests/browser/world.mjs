// A tenant in which something is on every page. Its texts come from `say`: plain ones for the screenshots, hostile ones for the tests
// that no text is ever more than text.

import { PASSWORD, bootstrap, signIn } from "./server.mjs";
import { totp } from "./totp.mjs";

/** The variables that such a world needs of its server. */
export const VARIABLES = { secrets_key: "k".repeat(32), outbound_hosts: "hooks.example.com" };

/** Texts as people write them. */
export const plain = (text) => text;

/** The same with what would do something if it were ever read as HTML, as a script or as an address. */
export const hostile = (text) =>
  `${text.slice(0, 20)}"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}`.slice(0, 120);
const hostileShort = (text) => `${text.slice(0, 8)}"'><img src=x onerror=alert(1)>`.slice(0, 60);

/** The same from right to left, with what turns the words around it unless it is isolated: it begins with א and ends with ת. */
export const turned = (text) => `אבג (${text.slice(0, 8)} דהת`;

/** The longest that a field takes, without a place at which a line could end. */
export const unbroken = (text, most = 64) => `${text.replace(/\W+/g, "")}${"w".repeat(most)}`.slice(0, most);

/**
 * In a new server of which nothing else is known: an admin who wants another address; a person with a second factor, and a session of theirs;
 * and a session of somebody without a password, who has signed in a while ago.
 */
export async function wire(server) {
  const admin = await bootstrap(server);
  await admin.post("/auth/email", { email: "ada.lovelace@example.org" });
  const email = "fay@example.com";
  const fay = await admin.post("/api/users", { email, name: "Fay Example", role: "member", invite: false });
  await admin.must("POST", `/api/users/${fay.id}/set-password`, { password: PASSWORD });
  const own = await signIn(server, email);
  const { secret } = await own.post("/auth/factor");
  await own.post("/auth/factor/confirm", { code: totp(secret) });
  const again = "ida@example.com";
  const ida = await admin.post("/api/users", { email: again, name: "Ida Example", role: "member", invite: false });
  await admin.must("POST", `/api/users/${ida.id}/set-password`, { password: PASSWORD });
  const before = await signIn(server, again);
  server.forgetPassword(again);
  server.ageProofs(again);
  server.link(email, "github", "fay.example.with.a.long.name@users.noreply.github.com");
  server.link(email, "left-last-year", "fay@old.example.com");
  return { factor: own.bearer, again: before.bearer, linked: fay.id };
}

/** Fills a new server; answers what the pages' paths name. */
export async function fill(server, say = plain) {
  const short = say === hostile ? hostileShort : say;
  const admin = await bootstrap(server, short("Ada Example"));
  const people = {};
  for (const [email, name, role] of [
    ["max@example.com", "Max Weber", "member"],
    ["noor@example.com", "Noor Haddad", "admin"],
    ["lea@example.com", "Lea Marchand", "viewer"],
    ["old@example.com", "Otto Lind", "member"],
  ]) {
    const user = await admin.post("/api/users", { email, name: short(name), role });
    await admin.must("POST", `/api/users/${user.id}/set-password`, { password: PASSWORD });
    people[email] = user.id;
  }
  const invited = { email: "ivy@example.com", name: short("Ivy Okafor"), role: "member", invite: false };
  people[invited.email] = (await admin.post("/api/users", invited)).id;
  // The link by which a person sets a password: it works once, and no page here uses it.
  const link = async (email, what) => {
    const { url } = await (await signIn(server, "ada@example.com")).post(`/api/users/${people[email]}/${what}`);
    return url.slice(server.url.length);
  };
  await admin.post("/api/scopes/custom", { name: "x.payments.refund", description: say("Pay a customer back, up to 50 € each.", 200) });
  const max = await signIn(server, "max@example.com");

  const agents = {};
  const register = async (by, body) => {
    const made = await by.post("/api/agents", body);
    agents[made.name] = { id: made.id, name: made.name, api: server.api(made.auth_token) };
  };
  await register(admin, {
    name: "support-desk",
    description: say("Answers tickets, and hands refunds on.", 500),
    runtime: short("langgraph 1.4"),
    model: short("claude-opus-4-7"),
    url: "https://agents.example.com/support",
    labels: { team: short("support"), region: "eu" },
    budget_cents: 20000,
    scope: ["agents.list", "agents.read", "agents.logs", "agents.message", "agents.create", "ui.notify"],
  });
  await register(admin, { name: "refunds", parent: "support-desk", description: say("Pays customers back.", 500), scope: ["agents.read", "ui.notify"] });
  await register(admin, { name: "translator", parent: "support-desk", display_name: short("Translator"), scope: ["ui.notify"] });
  await register(max, { name: "build-bot", description: say("CI of the shop.", 500), preset: "engineer" });
  await register(max, { name: "build-bot-7", parent: "build-bot", scope: ["agents.read", "ui.notify"] });
  await register(max, { name: "night-report", preset: "reader", expires_in_days: 3 });
  await register(admin, { name: "scout", preset: "reader" });
  await register(admin, { name: "old-scraper", description: say("Was replaced by scout.", 500), preset: "reader" });

  const guide = (name, title, text) => ({ name, title: say(title, 120), text: say(text, 4000) });
  await admin.must("PUT", "/api/guides/app:crm", {
    pages: [
      guide("refunds", "Refunds", "Refunds above 50 € need the form R-7.\nAsk the customer for the invoice first."),
      guide("tone", "How we write", "Short, friendly, and never in capitals."),
    ],
  });
  await admin.must("PUT", "/api/guides/app:wiki", { pages: [guide("people", "Who knows what", "Refunds: Noor. Invoices: Max.")] });

  await agents["support-desk"].api.post("/api/agents/me/heartbeat", { spent_cents: 1240 });
  await agents["build-bot"].api.post("/api/agents/me/heartbeat", {});
  await admin.post("/api/agents/refunds/pause");
  const { closure } = await admin.post("/api/agents/scout/stop");
  await admin.must("DELETE", "/api/agents/old-scraper");
  for (const [level, text] of [["info", "Started with 4 queues."], ["warn", "The queue of billing is slow."], ["error", "Ticket 8812: no customer."]]) {
    await agents["support-desk"].api.post("/api/agents/support-desk/logs", { lines: [{ level, text: say(text, 1000) }] });
  }
  const ask = (name, scope, reason) => agents[name].api.post("/api/access-requests", { scope, reason: say(reason, 500), hours: 24 });
  await admin.post("/api/agents/refunds/resume");
  const request = await ask("refunds", ["x.payments.refund", "agents.logs"], "Ticket 8812: the customer was charged twice.");
  await ask("night-report", ["agents.logs"], "The report lists what went wrong.");
  const desk = agents["support-desk"].api;
  const refused = await desk.send("PATCH", "/api/agents/translator", { tier: 2, description: say("Translates letters.", 300) });
  const exact = await desk.post("/api/access-requests", refused.json.ask.body);
  const given = await ask("build-bot-7", ["agents.logs"], "To see why the release failed.");
  await admin.must("POST", `/api/access-requests/${given.id}/approve`, { hours: 8 });
  const denied = await ask("build-bot-7", ["agents.update"], "A second runner.");
  await admin.must("POST", `/api/access-requests/${denied.id}/deny`, { reason: say("Ask Max first.", 500) });
  await admin.post("/api/agents/refunds/pause");

  await agents["support-desk"].api.post("/api/ui/notify", {
    title: say("12 tickets answered", 120),
    body: say("Two of them wait for a person.", 2000),
    action_url: "https://desk.example.com/tickets",
    priority: "high",
  });
  await agents["support-desk"].api.post("/api/ui/notify", { title: say("Quiet night", 120), body: say("Nothing to report."), action_url: "/agents/support-desk" });
  // Refusals, as they stand in the trail.
  for (let i = 0; i < 3; i++) await agents.translator.api.send("GET", "/api/agents");

  await admin.post("/auth/tokens", { name: short("laptop") });
  await admin.post("/auth/tokens", { name: short("deploy (GitHub)"), scope: ["agents.deploy", "agents.read"], expires_in_days: 3 });
  const gone = await admin.post("/auth/tokens", { name: short("old notebook"), scope: ["agents.read"], expires_in_days: null });
  await admin.must("DELETE", `/auth/tokens/${gone.id}`);
  await max.post("/auth/tokens", { name: short("ci") });
  const key = await admin.post("/api/agents/support-desk/keys", { name: short("acme/ci"), type: "external", expires_in_days: 5 });
  await admin.post("/api/agents/support-desk/grants", { subject: "max@example.com", relation: "editor" });
  await admin.post("/api/agents/support-desk/grants", { subject: "scout", relation: "viewer" });
  await admin.post(`/api/agents/support-desk/keys/${key.id}/grants`, { subject: "max@example.com", relation: "viewer" });
  await admin.must("POST", `/api/users/${people["old@example.com"]}/deactivate`);
  await server.api().post("/internal/tick");
  await admin.must("PUT", "/api/agents/support-desk/secrets/GITHUB_TOKEN", { value: "one" });
  await admin.post("/api/agents/support-desk/probes", { name: "github", url: "https://hooks.example.com/user", secret: "GITHUB_TOKEN" });
  const webhook = await admin.post("/api/webhooks", { url: "https://hooks.example.com/accredit", name: short("desk"), kinds: ["agent.*"] });
  const delivery = await admin.post(`/api/webhooks/${webhook.id}/test`);
  const service = await admin.post("/api/resources", {
    identifier: "https://payments.example.com",
    name: short("Payments"),
    scopes: ["x.payments.refund"],
    introspectors: ["support-desk"],
  });
  const confidential = await admin.post("/api/oauth/clients", {
    name: short("Back office"),
    redirect_uris: ["https://office.example.com/a/rather/long/path/of/a/redirect/uri/callback", "http://127.0.0.1/cb"],
    confidential: true,
  });
  await server.api().must("POST", "/auth/leaks", { token: confidential.client_secret });
  // An app that was let in, and what another one would ask.
  const client = await admin.post("/api/oauth/clients", { name: short("Planner"), redirect_uris: ["https://planner.example.com/cb"] });
  const asks = new URLSearchParams({
    response_type: "code",
    client_id: client.id,
    redirect_uri: "https://planner.example.com/cb",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    code_challenge_method: "S256",
    scope: "agents.read agents.create agents.token.issue x.payments.refund",
    // Of ASCII alone, as OAuth has it.
    state: say === turned ? "state" : say("state"),
  });
  const { code } = await admin.post("/api/oauth/authorize", { request: `${asks}` });
  const traded = await server.api().form("/oauth/token", {
    grant_type: "authorization_code",
    client_id: client.id,
    code,
    redirect_uri: "https://planner.example.com/cb",
    code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
  });
  if (traded.status !== 200) throw new Error(`the code of the app was refused: ${traded.text}`);
  await admin.post("/api/agents/support-desk/federated-credentials", {
    name: short("tickets-job"),
    issuer: "https://hooks.example.com",
    subject: "repo:acme/shop:ref:refs/heads/main",
    claims: { environment: short("production") },
  });
  const described = { access: say("The tickets of the desk, and the customers' addresses."), compute: { cpu: 2, memory: "4Gi", note: short("spot") } };
  await admin.must("PATCH", "/api/agents/support-desk", described);
  const authorize = `/oauth/authorize?${asks}`;
  // The code of a device that waits now: it waits for ten minutes.
  const device = async (scope = "agents.read agents.create") => {
    const asked = { name: short("notebook"), client_id: "cli", ...(scope && { scope }) };
    return (await server.api().form("/auth/device/code", asked)).json.user_code;
  };
  const archived = (await admin.get("/api/agents/archived")).items[0].id;
  const ends = say === unbroken ? await stretch(server, admin, register, agents) : {};
  const ids = {
    client: confidential.id,
    service: service.id,
    request: request.id,
    exact: exact.id,
    given: given.id,
    key: key.id,
    archived,
    webhook: webhook.id,
    delivery: delivery.delivery_id,
    authorize,
    closure: closure.id,
  };
  return { admin, max, people, agents, device, link, ...ids, ...ends };
}

/** The longest names that people, agents, scopes and tenants can have, each with all that its pages show; answers the name of the agent. */
async function stretch(server, admin, register, agents) {
  const long = "w".repeat(63);
  await admin.must("PATCH", "/api/tenant", { name: "w".repeat(64) });
  const scope = `x.${"w".repeat(62)}`;
  await admin.post("/api/scopes/custom", { name: scope, description: "w".repeat(200) });
  const email = `${"w".repeat(64)}@${"w".repeat(63)}.${"w".repeat(63)}.example`;
  const user = await admin.post("/api/users", { email, name: "w".repeat(64), role: "member" });
  await admin.must("POST", `/api/users/${user.id}/set-password`, { password: PASSWORD });
  const own = await signIn(server, email);
  await own.post("/auth/tokens", { name: "w".repeat(64) });
  const settings = { display_name: "w".repeat(64), description: "w".repeat(500), labels: { ["w".repeat(64)]: "w".repeat(128) } };
  await register(own, { name: long, scope: ["agents.read", "agents.logs", "ui.notify", scope], ...settings });
  await register(own, { name: `${long.slice(1)}0`, parent: long, scope: ["ui.notify"] });
  const { api } = agents[long];
  await api.post("/api/ui/notify", { title: "w".repeat(120), body: "w".repeat(2000), priority: "high" });
  await api.post(`/api/agents/${long}/logs`, { lines: [{ level: "error", text: "w".repeat(1000) }] });
  await agents[`${long.slice(1)}0`].api.post("/api/access-requests", { scope: [scope], reason: "w".repeat(500), hours: 24 });
  await admin.post(`/api/agents/${long}/grants`, { subject: "max@example.com", relation: "editor" });
  await own.must("PUT", `/api/agents/${long}/secrets/${"W".repeat(64)}`, { value: "one" });
  await own.post(`/api/agents/${long}/keys`, { name: "w".repeat(64), type: "external" });
  await own.post(`/api/agents/${long}/stop`);
  return { long };
}
