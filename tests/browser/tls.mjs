// TLS of what a host calls in these tests: a certificate that only the component that calls it trusts.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { selfsigned } from "./packages.mjs";

/** A certificate for `localhost`, and the flags of a host whose component trusts it. `remove` deletes its files. */
export async function trustedBy(component) {
  const { cert, private: key } = await selfsigned.generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] },
    ],
  });
  const folder = mkdtempSync(path.join(tmpdir(), "accredit-tls-"));
  writeFileSync(path.join(folder, "ca.pem"), cert);
  const config = path.join(folder, "runtime-config.toml");
  writeFileSync(config, `[[client_tls]]\ncomponent_ids = ["${component}"]\nhosts = ["localhost"]\nca_roots_file = "ca.pem"\n`);
  const flagsFor = (host) => ["--runtime-config-file", config, "--allow-private", host];
  return { cert, key, flagsFor, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
