// Signs a body as GitHub does, by its own library.
import { sign } from "@octokit/webhooks-methods";

const [secret, body] = process.argv.slice(2);
console.log(await sign(secret, body));
