// A company's provider of OpenID Connect with two pages of its own: who are you, and do you agree?

import https from "node:https";

import { client, consent, serve, settings } from "../oidc/company.mjs";
import { Provider } from "./packages.mjs";
import { trustedBy } from "./tls.mjs";

const SECRET = "one";
const PEOPLE = {
  max: { email: "max@acme.example", email_verified: true, name: "Max Example" },
  ada: { email: "ada@example.com", email_verified: true, name: "Ada Example" },
};

const page = (title, inner) => `<!doctype html><html lang="en"><title>${title}</title><h1>${title}</h1><form method="post">${inner}</form></html>`;

/** Starts it. `variables` and `flags` are what a host needs to let people sign in here. */
export async function company() {
  const { cert, key, flagsFor, remove } = await trustedBy("oidc");
  const server = https.createServer({ cert, key });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `localhost:${server.address().port}`;
  const provider = new Provider(`https://${host}`, {
    ...settings(PEOPLE),
    clients: [client("accredit", SECRET, ["acme"])],
  });

  async function interact(request, answer) {
    const details = await provider.interactionDetails(request, answer);
    const isLogin = details.prompt.name === "login";
    if (request.method === "GET") {
      answer.setHeader("content-type", "text/html; charset=utf-8");
      return answer.end(
        isLogin
          ? page("Acme: who are you?", '<label>Name <input name="name"></label><button>Go on</button>')
          : page("Acme: let Accredit know you?", '<button name="agrees" value="yes">Agree</button><button name="agrees" value="no">Refuse</button>'),
      );
    }
    let body = "";
    for await (const part of request) body += part;
    const form = new URLSearchParams(body);
    if (isLogin) return provider.interactionFinished(request, answer, { login: { accountId: form.get("name") } });
    if (form.get("agrees") === "no") return provider.interactionFinished(request, answer, { error: "access_denied" });
    return provider.interactionFinished(request, answer, await consent(provider, details));
  }
  serve(server, provider, interact);

  const variables = {
    oidc_host1: host,
    oidc1: `preset=generic name=acme issuer=https://${host} client_id=accredit domains=acme.example label=Acme`,
    oidc1_secret: SECRET,
  };
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `https://${host}`, variables, flags: flagsFor(host), close, remove };
}
