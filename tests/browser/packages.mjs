// The packages of package-lock.json. They lie below `target`, where `cargo xtask setup` puts them, and not beside these files.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.env.ACCREDIT_NODE_PACKAGES;
if (!folder) throw new Error("ACCREDIT_NODE_PACKAGES is not set: start these tests by `cargo xtask test browser`");
const load = createRequire(path.join(folder, "package.json"));

export const { chromium } = load("playwright-core");
export const { HtmlValidate } = load("html-validate");
export const selfsigned = load("selfsigned");
export const { default: Provider } = await import(pathToFileURL(load.resolve("oidc-provider")));
/** The text of axe-core, to be run in a page. */
export const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");
