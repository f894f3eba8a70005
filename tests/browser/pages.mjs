// Every page for people. A page that is not in this list is not tested: add yours when you add it. See docs/testing.md.
//
// name: of its screenshots. path: a path, or a function of the world (world.mjs). as: the visitor's address, by default the admin;
// `null`: nobody. status: what it answers, by default 200. isNew: on a server that nobody has set up.

export const PAGES = [
  { name: "setup", path: "/setup", as: null, isNew: true },
  { name: "login", path: "/login", as: null },
  { name: "login-note", path: "/login?done=signed-out", as: null },
  { name: "forgot", path: "/forgot", as: null },
  { name: "install-public", path: "/install", as: null },
  { name: "home", path: "/" },
  { name: "home-member", path: "/", as: "max@example.com" },
  { name: "home-viewer", path: "/", as: "lea@example.com" },
  { name: "install", path: "/install" },
  { name: "agents", path: "/agents" },
  { name: "agents-none", path: "/agents?q=nothing-like-this" },
  { name: "agents-archived", path: "/archived" },
  { name: "archived-purge", path: (world) => `/archived/${world.archived}` },
  { name: "register", path: "/register" },
  { name: "stop-all", path: "/stop-all" },
  { name: "agent", path: "/agents/support-desk" },
  { name: "agent-paused", path: "/agents/refunds" },
  { name: "agent-settings", path: "/agents/support-desk/settings" },
  { name: "agent-credentials", path: "/agents/support-desk/credentials" },
  { name: "agent-key", path: (world) => `/agents/support-desk/key?key=${world.key}` },
  { name: "agent-sharing", path: "/agents/support-desk/sharing" },
  { name: "agent-why", path: "/agents/support-desk/why?subject=max@example.com&action=delete" },
  { name: "agent-log", path: "/agents/support-desk/log" },
  { name: "agent-history", path: "/agents/support-desk/history" },
  { name: "access", path: "/access" },
  { name: "decide", path: (world) => `/access/${world.request}` },
  { name: "decided", path: (world) => `/access/${world.given}` },
  { name: "tokens", path: "/tokens" },
  { name: "tokens-all", path: "/tokens?status=all&sort=expires_at" },
  { name: "notifications", path: "/notifications" },
  { name: "security", path: "/security" },
  { name: "tenant", path: "/admin/tenant" },
  { name: "users", path: "/admin/users" },
  { name: "user", path: (world) => `/admin/users/${world.people["max@example.com"]}` },
  { name: "all-tokens", path: "/admin/tokens" },
  { name: "all-tokens-of", path: (world) => `/admin/tokens?user=${world.people["max@example.com"]}` },
  { name: "audit", path: "/admin/audit" },
  { name: "audit-verified", path: "/admin/audit?verify=1" },
  { name: "refused", path: "/admin/users", as: "max@example.com", status: 403 },
  { name: "missing", path: "/agents/nothing-like-this", status: 404 },
];

/** The path of a page in a world. */
export const pathOf = (page, world) => (typeof page.path === "function" ? page.path(world) : page.path);
