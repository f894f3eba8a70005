// R110: every page of pages.mjs, in light, in dark and on a phone: what is wrong with it as a page.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { AXE, MODES, elsewhere, enter, enterWith, launch, test, unfit, visitor } from "./browser.mjs";
import { axe } from "./packages.mjs";
import { PAGES, pathOf } from "./pages.mjs";
import { start } from "./server.mjs";
import { mailBy } from "./sink.mjs";
import { slowly } from "./slow.mjs";
import { validator } from "./valid.mjs";
import { VARIABLES, fill, hostile, plain, turned, unbroken, wire } from "./world.mjs";

const SCREENSHOTS = process.env.ACCREDIT_SCREENSHOTS;
const TEMPLATES = new URL("../../components/web/templates/", import.meta.url).pathname;

/** The longest texts of a template that are the same on each page: one of them tells that it was used. */
function fragments(template) {
  const parts = template.split(/\{\{.*?\}\}|\{%.*?%\}/s).map((part) => part.trim());
  return parts.filter((part) => part.length > 7).sort((a, b) => b.length - a.length).slice(0, 4);
}

/** The most that a page, its style and its script may have together. */
const MOST_BYTES = 60 * 1024;
/** What a server needs to send mail and to know two providers. None of them is called. */
const WIRED = {
  ...VARIABLES,
  ...mailBy("127.0.0.1:9"),
  oidc1: "preset=google client_id=one label=Google Workspace of Example Holdings SE",
  oidc1_secret: "one",
  oidc2: "preset=github client_id=two label=GitHub Enterprise",
  oidc2_secret: "two",
};

let browser;
const worlds = {};

before(async () => {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await launch();
  worlds.empty = { server: await start(), world: {} };
  const wired = await start(WIRED);
  worlds.wired = { server: wired, world: await wire(wired) };
  for (const [name, say] of [["plain", plain], ["hostile", hostile], ["turned", turned], ["unbroken", unbroken]]) {
    const server = await start(VARIABLES);
    worlds[name] = { server, world: await fill(server, say) };
  }
  for (const one of Object.values(worlds)) one.slow = await slowly(one.server);
});

after(async () => {
  await browser?.close();
  for (const { server, slow } of Object.values(worlds)) {
    slow?.stop();
    await server.stop();
  }
});

/** Visits every page in a mode, signed in as it says, and gives each to `look`. `by` is the way to a world: its server, or the slow one. */
async function visit(which, mode, look, by = "server", pages = PAGES) {
  const guests = new Map();
  const wrong = [];
  for (const page of pages) {
    const { [by]: server, world } = worlds[page.on ?? which];
    const as = page.as === undefined ? "ada@example.com" : page.as;
    const url = page.elsewhere ? elsewhere(server.url) : server.url;
    const who = `${as} ${page.session ?? page.leads ?? ""} ${url}`;
    if (!guests.has(who)) {
      const also = page.leads ? [page.leads] : [];
      const guest = await visitor(browser, { url }, { also, ...MODES[mode] });
      // Another site, to which a page of ours leads by itself, has nothing to show: ours stays.
      if (page.leads) await guest.context.route(`${page.leads}**`, (route) => route.fulfill({ status: 204 }));
      if (page.session) await enterWith(guest, server, world[page.session]);
      else if (as) await enter(guest.page, as);
      guests.set(who, guest);
    }
    const guest = guests.get(who);
    let answer = await guest.page.goto(await pathOf(page, world));
    if (page.send) {
      // A form that leads to a page by a redirect: the page.
      const isPage = (one) => one.request().isNavigationRequest() && (one.status() < 300 || one.status() >= 400);
      [answer] = await Promise.all([guest.page.waitForEvent("response", isPage), page.send(guest.page)]);
      // The page that was there before is loaded too: this one is there once all of it has come.
      await answer.finished();
      await guest.page.waitForLoadState();
    }
    const say = (text) => wrong.push(`${page.name} (${mode}): ${text}`);
    if (answer.status() !== (page.status ?? 200)) say(`answered ${answer.status()}`);
    await look({ ...page, mode, guest, answer, say, tab: guest.page });
    for (const fault of guest.faults.splice(0)) say(fault);
  }
  for (const guest of guests.values()) await guest.close();
  if (wrong.length) assert.fail(`\n${wrong.join("\n")}`);
}

async function accessible({ tab, say }) {
  // A field that has to be corrected has the focus, and so the page is scrolled: the header stands above others then.
  await tab.evaluate(() => scrollTo(0, 0));
  await tab.evaluate(axe);
  const found = await tab.evaluate((options) => globalThis.axe.run(document, options), AXE);
  for (const rule of found.violations) for (const node of rule.nodes) say(`${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ""}`);
}

async function narrow({ tab, say }) {
  // Not `innerWidth`: a phone shows more of a page that is too wide for it.
  const room = tab.viewportSize().width;
  const [wide, hidden] = await tab.evaluate((room) => {
    const isHidden = (one) => one.getBoundingClientRect().left < 0 || one.getBoundingClientRect().right > room;
    return [document.documentElement.scrollWidth, [...document.querySelectorAll("nav [aria-current]")].filter(isHidden).map((one) => one.innerText)];
  }, room);
  if (wide > room) say(`is ${wide} px wide, which is more than ${room}`);
  for (const text of hidden) say(`does not show that ${text} is open`);
}

/** R354: what has the focus is never below the header, which stays in sight (WCAG 2.2, 2.4.11). */
async function uncovered({ tab, say }) {
  const covered = await tab.evaluate(() => {
    const bar = document.querySelector(".bar");
    if (!bar) return [];
    const all = [...document.querySelectorAll("main :is(a[href], button, input:not([type=hidden]), select, textarea, summary)")].filter((one) => one.checkVisibility());
    return all.reverse().filter((one) => {
      one.focus();
      return one.getBoundingClientRect().top < bar.getBoundingClientRect().bottom;
    }).map((one) => one.outerHTML.slice(0, 120));
  });
  for (const html of covered) say(`the header covers the focus on ${html}`);
}

/** R388: every form that changes something has its token. */
async function signed({ tab, say }) {
  const [all, bare] = await tab.evaluate(() => {
    const forms = [...document.querySelectorAll("form")].filter((form) => form.method === "post");
    return [forms.length, forms.filter((form) => (form.elements.csrf?.value ?? "").length < 20).map((form) => form.outerHTML.slice(0, 120))];
  });
  for (const html of bare) say(`a form without its token: ${html}`);
  return all;
}

/** R355: a table at the side fits into its column. */
async function fitting({ tab, say }) {
  const cut = await tab.evaluate(() => [...document.querySelectorAll(".columns .stack:not(:first-child) .scroll")].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.innerText.slice(0, 60)));
  for (const text of cut) say(`cuts a table at the side: ${text}`);
  // R662: what can be done about a row is to be seen at every width.
  const usual = tab.viewportSize();
  for (const width of [768, 1024, 1160]) {
    await tab.setViewportSize({ ...usual, width });
    const hidden = await tab.evaluate(() => [...document.querySelectorAll(".scroll td.act .button")].filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > one.closest(".scroll").getBoundingClientRect().right).map((one) => one.innerText));
    if (hidden.length) say(`cuts ${hidden.join(", ")} at ${width} px`);
  }
  await tab.setViewportSize(usual);
}

/** The most that may move, as Cumulative Layout Shift counts it: half of what is called good. The columns of a table adjust to its rows. */
const MOST_MOVED = 0.05;

async function still({ tab, say }) {
  const moved = await tab.evaluate(
    () =>
      new Promise((resolve) => {
        let sum = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) sum += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)));
      }),
  );
  if (moved > MOST_MOVED) say(`moves by ${moved} while it loads`);
}

async function photographed({ tab, name, mode }) {
  if (SCREENSHOTS) await tab.screenshot({ path: path.join(SCREENSHOTS, `${name}-${mode}.png`), fullPage: true });
}

async function timed({ tab, say }) {
  const bad = await tab.evaluate(() =>
    [...document.querySelectorAll("time")].filter((time) => !time.dateTime || !/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/.test(time.title)).map((time) => time.outerHTML),
  );
  for (const html of bad) say(`a time without the exact one: ${html}`);
}

for (const mode of Object.keys(MODES)) {
  test(`every page is accessible and without an error (${mode})`, () =>
    visit("plain", mode, async (page) => {
      await narrow(page);
      await photographed(page);
      await accessible(page);
      await timed(page);
      await uncovered(page);
      await fitting(page);
      if (mode === "phone") for (const text of await unfit(page.tab)) page.say(`on a phone: ${text}`);
    }));
}

for (const mode of ["light", "phone"]) {
  // Wherever a page is cut, what has been painted stands still when the rest comes.
  test(`every page stands still while it comes in pieces (${mode})`, () => visit("plain", mode, still, "slow"));
}

test("every page is valid HTML, and small, and every template is on one of them", async () => {
  const seen = [];
  let forms = 0;
  await visit("plain", "light", async ({ answer, say, tab }) => {
    forms += await signed({ tab, say });
    const html = await answer.text();
    seen.push(html);
    const report = await validator.validateString(html);
    for (const { messages } of report.results) for (const found of messages) say(`${found.ruleId} at ${found.line}:${found.column}: ${found.message}`);
    const asked = await tab.evaluate(() => [...document.querySelectorAll("link[rel=stylesheet], script[src]")].map((one) => one.href || one.src));
    const links = asked.map((link) => link.replace("accredit.test", "127.0.0.1"));
    let bytes = Buffer.byteLength(html);
    for (const link of links) {
      const kept = await fetch(link);
      bytes += (await kept.arrayBuffer()).byteLength;
      const again = await fetch(link, { headers: { "if-none-match": kept.headers.get("etag") } });
      if (again.status !== 304) say(`${link} is sent again although the browser has it`);
    }
    if (links.length > 2) say(`asks for ${links.length} files`);
    if (bytes > MOST_BYTES) say(`has ${bytes} bytes with its files`);
  });
  assert.ok(forms > 200, `${forms} forms`);
  const templates = readdirSync(TEMPLATES).filter((name) => name.endsWith(".html"));
  const unseen = templates.filter((name) => !fragments(readFileSync(path.join(TEMPLATES, name), "utf8")).some((part) => seen.some((html) => html.includes(part))));
  assert.deepEqual(unseen, [], "templates that no page of pages.mjs shows");
});

test("hostile texts are text on every page", async () => {
  let shown = 0;
  const look = async ({ answer, say, tab }) => {
    const html = await answer.text();
    shown += html.includes("&#60;img") || html.includes("&lt;img") ? 1 : 0;
    const report = await validator.validateString(html);
    for (const { messages } of report.results) for (const found of messages) say(`${found.ruleId} at ${found.line}:${found.column}: ${found.message}`);
    const made = await tab.evaluate(() => document.querySelectorAll("img, script:not([src]), [onerror], iframe, object").length);
    if (made) say("has an element of a text");
    await narrow({ say, tab });
  };
  await visit("hostile", "light", look);
  await visit("hostile", "phone", look);
  assert.ok(shown > 20, `hostile texts are on ${shown} pages only`);
});

/** The narrowest into which pages fit without a line that scrolls (WCAG 2.2, 1.4.10), CSS pixels. */
const NARROWEST = { width: 320, height: 740 };

for (const mode of ["phone", "light"]) {
  // R350
  test(`no text without a blank is wider than its page (${mode})`, async () => {
    const { long } = worlds.unbroken.world;
    // What is true of an agent is true of the one with the longest name too.
    const also = PAGES.filter(({ path, send }) => !send && `${path}`.startsWith("/agents/support-desk"));
    const theirs = also.map((page) => ({ ...page, name: `${page.name}-long`, path: page.path.replace("support-desk", long) }));
    const look = async (page) => {
      await page.tab.evaluate(() => document.querySelectorAll("main details:not(.sure)").forEach((one) => (one.open = true)));
      await narrow(page);
      await photographed({ ...page, name: `unbroken-${page.name}` });
      const [cut, low] = await page.tab.evaluate(() => {
        const [row, brand, menu] = [".bar nav", ".bar .brand", ".bar .menu"].map((one) => document.querySelector(one));
        if (!row) return [false, false];
        return [row.scrollWidth > row.clientWidth, menu.getBoundingClientRect().top >= brand.getBoundingClientRect().bottom];
      });
      if (cut && mode === "light") page.say("cuts a word of the header");
      if (low) page.say("has the menu below the name of the header");
      const names = await page.tab.evaluate(() => {
        const isCut = (one) => one.getBoundingClientRect().right > one.closest("td").getBoundingClientRect().right + 1;
        return [...document.querySelectorAll("td.key .name")].filter(isCut).map((one) => one.innerText);
      });
      for (const name of names) page.say(`cuts a name: ${name}`);
      if (mode !== "phone") return;
      await page.tab.setViewportSize(NARROWEST);
      const wide = await page.tab.evaluate(() => document.documentElement.scrollWidth);
      if (wide > NARROWEST.width) page.say(`is ${wide} px wide, which is more than ${NARROWEST.width}`);
      await page.tab.setViewportSize(MODES.phone.viewport);
    };
    await visit("unbroken", mode, look, "server", [...PAGES, ...theirs]);
  });
}

// R690
for (const mode of ["phone", "light"]) {
  test(`a step that is asked about twice can be read and pressed (${mode})`, async () => {
    let seen = 0;
    await visit("plain", mode, async ({ tab, say }) => {
      const wrong = await tab.evaluate(() => {
        const all = [...document.querySelectorAll("main details.sure")];
        const bad = [];
        for (const one of all) {
          one.open = true;
          one.scrollIntoView({ block: "center", inline: "end" });
          const frame = (one.closest(".scroll") ?? document.documentElement).getBoundingClientRect();
          for (const button of one.lastElementChild.querySelectorAll("button")) {
            const at = button.getBoundingClientRect();
            const line = Number.parseFloat(getComputedStyle(button).fontSize) * 2;
            const isOneLine = at.height < line * 1.6;
            const isWithin = at.left >= Math.max(frame.left, 0) - 1 && at.right <= Math.min(frame.right, window.innerWidth) + 1;
            if (!isOneLine || !isWithin) bad.push(`${button.innerText}: ${Math.round(at.width)} × ${Math.round(at.height)} at ${Math.round(at.left)}`);
          }
          one.open = false;
        }
        return [all.length, bad];
      });
      seen += wrong[0];
      for (const one of wrong[1]) say(`hides a button: ${one}`);
    });
    assert.ok(seen > 10, `${seen} are looked at`);
  });
}

// R492
test("every page fits into a phone with letters twice as large", async () => {
  const usual = browser;
  browser = await launch(["--blink-settings=defaultFontSize=32"]);
  try {
    await visit("plain", "phone", async ({ tab, say }) => {
      await tab.evaluate(() => document.querySelectorAll("main details:not(.sure)").forEach((one) => (one.open = true)));
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
      if (wide > MODES.phone.viewport.width) say(`is ${wide} px wide`);
    });
  } finally {
    await browser.close();
    browser = usual;
  }
});

test("no text from right to left turns the words around it", async () => {
  let shown = 0;
  await visit("turned", "light", async ({ say, tab }) => {
    const [isolated, bare] = await tab.evaluate(() => {
      const isTurned = (text) => /[\u0590-\u05ff]/.test(text);
      /** Whether each of its letters stands between characters that isolate. */
      const isBetween = (text) => {
        let depth = 0;
        return [...text].every((c) => (depth += (c === "\u2068") - (c === "\u2069")) > 0 || !isTurned(c)) && depth === 0;
      };
      const wrong = [];
      let count = 0;
      const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (!isTurned(node.data)) continue;
        count += 1;
        const own = node.parentElement.closest("bdi, [dir=auto]");
        const text = own?.textContent.trim();
        // What is shown as it is sent has other words beside it, and so has a field. JSON stays as programs read it.
        if (node.parentElement.matches("textarea.mono")) continue;
        const isWhole = own && (own.closest("pre, textarea") || (text.startsWith("א") && /[ת…]$/.test(text)));
        if (!isWhole && !isBetween(node.data)) wrong.push(node.parentElement.outerHTML.slice(0, 200));
      }
      for (const one of document.querySelectorAll("*")) {
        for (const name of ["alt", "aria-label", "label", "placeholder", "title"]) {
          const text = one.getAttribute(name) ?? "";
          if (isTurned(text) && !isBetween(text)) wrong.push(`${name} of ${one.outerHTML.slice(0, 200)}`);
        }
        const isField = one.matches("input:not([type=hidden], [type=checkbox], [type=radio]), textarea:not(.mono)");
        if (isField && isTurned(one.value) && one.dir !== "auto") wrong.push(one.outerHTML.slice(0, 200));
        if (isField && /[\u2066-\u2069]/.test(one.value)) wrong.push(`changed: ${one.outerHTML.slice(0, 200)}`);
      }
      return [count, wrong];
    });
    shown += isolated;
    for (const html of bare) say(`a bare text: ${html}`);
  });
  assert.ok(shown > 60, `texts from right to left are shown ${shown} times only`);
});
