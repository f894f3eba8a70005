// A mail provider that keeps what it is sent. It speaks TLS, as providers do, with a certificate that only the host's worker trusts.

import https from "node:https";

import { trustedBy } from "./tls.mjs";

/** The variables by which a host sends its mail to such a provider. */
export const mailBy = (host) => ({ mail_provider: "webhook", mail_host: host, mail_from: "accredit@example.com", mail_token: "one" });

/** Starts it. `variables` and `flags` are what a host needs to send its mail here. */
export async function sink() {
  const { cert, key, flagsFor, remove } = await trustedBy("worker");
  const mails = [];
  let wake = () => {};
  const server = https.createServer({ cert, key }, (request, answer) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      mails.push(JSON.parse(body));
      wake();
      answer.end("{}");
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `localhost:${server.address().port}`;

  /** The first mail to this address that nobody has taken yet. */
  async function next(to) {
    const given = setTimeout(() => wake(new Error(`no mail to ${to} has come in a minute`)), 60_000);
    for (;;) {
      const place = mails.findIndex((mail) => mail.to === to);
      if (place >= 0) {
        clearTimeout(given);
        return mails.splice(place, 1)[0];
      }
      const error = await new Promise((resolve) => (wake = resolve));
      if (error) throw error;
    }
  }
  /** The path of the only link to a page of ours in a mail. */
  const linkIn = (mail) => {
    const found = mail.text.match(/http:\/\/127\.0\.0\.1:\d+(\/\S*code=\S+)/);
    if (!found) throw new Error(`no link in: ${mail.text}`);
    return found[1];
  };
  const stop = () => {
    server.closeAllConnections();
    server.close();
    remove();
  };
  return { variables: mailBy(host), flags: flagsFor(host), next, linkIn, stop };
}
