// Runs the program of the manual, which is the first argument: a line of JSON for each token, and a line with what came of it.
import readline from "node:readline";
import { pathToFileURL } from "node:url";
import { errors } from "jose";

const [program, issuer, identifier, jwks] = process.argv.slice(2);
const { verifier } = await import(pathToFileURL(program));
const claims = verifier({ issuer, identifier, jwks, pause: 0 });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { token, scope } = JSON.parse(line);
  try {
    console.log("taken", (await claims(token, scope)).sub);
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    console.log("refused", error.code);
  }
}
