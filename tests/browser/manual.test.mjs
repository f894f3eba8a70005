// R193: the manual as HTML: every page that a reader can reach is valid, and what a program can tell of its accessibility is right.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { AXE, MODES, launch, test, visitor } from "./browser.mjs";
import { axe } from "./packages.mjs";
import { start } from "./server.mjs";
import { validator } from "./valid.mjs";

const SCREENSHOTS = process.env.ACCREDIT_SCREENSHOTS;
/** One of each kind, which are looked at in every mode. */
const KINDS = ["/docs/", "/docs/agents/concepts/lists", "/docs/agents/recipes/enrol-an-agent", "/docs/agents/errors", "/docs/agents/errors/all", "/docs/agents/errors/404", "/docs/api", "/docs/api/agents"];

let browser;
let server;
/** The text of each page by its path, as a browser gets it. */
const pages = new Map();

/** Reads every page that the links of the first one lead to. */
async function crawl() {
  const waiting = ["/docs/", "/docs/nothing-like-this"];
  while (waiting.length) {
    const next = waiting.splice(0, 8).filter((one) => !pages.has(one));
    await Promise.all(
      next.map(async (one) => {
        const answer = await fetch(server.url + one, { headers: { accept: "text/html" } });
        if (!answer.headers.get("content-type")?.startsWith("text/html")) return;
        const html = await answer.text();
        pages.set(one, html);
        for (const [, href] of html.matchAll(/href="(\/docs[^"#]*)/g)) if (!href.endsWith(".css")) waiting.push(href);
      }),
    );
  }
}

before(async () => {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  server = await start();
  browser = await launch();
  await crawl();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("every page of the manual is valid HTML", async () => {
  assert.ok(pages.size > 200, `${pages.size} pages were found`);
  const wrong = [];
  for (const [name, html] of pages) {
    const report = await validator.validateString(html);
    for (const { messages } of report.results) for (const found of messages) wrong.push(`${name}: ${found.ruleId} at ${found.line}:${found.column}: ${found.message}`);
  }
  assert.deepEqual(wrong, []);
});

test("every page of the manual is accessible", async () => {
  const ofAKind = [...pages.keys()].filter((name) => /^\/docs\/(agents|errors|api)\/./.test(name));
  // The pages that are made from a table are alike.
  const made = ["/docs/errors/", "/docs/api/", "/docs/agents/scopes/"].map((kind) => ofAKind.find((name) => name.startsWith(kind)));
  const written = ofAKind.filter((name) => !["/docs/errors/", "/docs/api/", "/docs/agents/scopes/"].some((kind) => name.startsWith(kind)));
  const kinds = [...KINDS.filter((name) => pages.has(name)), ...made.filter(Boolean)];
  const wrong = [];
  for (const mode of Object.keys(MODES)) {
    const guest = await visitor(browser, server, MODES[mode]);
    const tab = guest.page;
    for (const name of mode === "light" ? new Set([...kinds, ...written]) : kinds) {
      await tab.goto(name);
      const say = (text) => wrong.push(`${name} (${mode}): ${text}`);
      await tab.evaluate(axe);
      const found = await tab.evaluate((options) => globalThis.axe.run(document, options), AXE);
      for (const rule of found.violations) for (const node of rule.nodes) say(`${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ""}`);
      const room = tab.viewportSize().width;
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
      if (wide > room) say(`is ${wide} px wide, which is more than ${room}`);
      if (SCREENSHOTS && kinds.includes(name)) {
        const file = `manual${name.replaceAll("/", "-").replace(/-$/, "")}-${mode}.png`;
        await tab.screenshot({ path: path.join(SCREENSHOTS, file) });
      }
      for (const fault of guest.faults.splice(0)) say(fault);
    }
    await guest.close();
  }
  assert.deepEqual(wrong, []);
});
