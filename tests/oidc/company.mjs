// What the providers of these tests have in common, here and in `tests/browser`. It needs no package.

/** The settings of a provider with these people, by their subject. */
export const settings = (people) => ({
  claims: { openid: ["sub", "amr"], email: ["email", "email_verified"], profile: ["name"] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["of the tests"] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, ...people[accountId] }) }),
});

/** A client by which a server knows its people under these names of the provider. */
export const client = (client_id, client_secret, names) => ({
  client_id,
  client_secret,
  // Of a native application every port of loopback may be used (RFC 8252, section 7.3).
  application_type: "native",
  redirect_uris: names.map((name) => `http://127.0.0.1/auth/oidc/${name}/callback`),
  response_types: ["code"],
  grant_types: ["authorization_code"],
});

/** What a person agrees to: that the client knows who they are. */
export async function consent(provider, { params, session }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope("openid email profile");
  return { consent: { grantId: await grant.save() } };
}

/** Answers what the provider's interactions ask by `interact`, and all else by the provider itself. */
export function serve(server, provider, interact) {
  const others = provider.callback();
  server.on("request", (request, answer) => {
    if (!request.url.startsWith("/interaction/")) return others(request, answer);
    interact(request, answer).catch((error) => answer.writeHead(500).end(String(error)));
  });
}
