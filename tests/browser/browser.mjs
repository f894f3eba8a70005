// Chromium, and pages that are watched: whatever a page must never do is remembered.

import { test as run } from "node:test";

import { chromium } from "./packages.mjs";
import { PASSWORD } from "./server.mjs";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Nothing but this computer can be reached, whatever a page asks for.
  "--host-resolver-rules=MAP accredit.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/** The longest that one test may take, ms. What a page is asked to evaluate has no other end. */
const LONGEST = 10 * 60_000;

/** A test, which does not take the others with it when it waits for ever. */
export const test = (name, work) => run(name, { timeout: LONGEST }, work);

/** Starts Chromium with an empty profile. Its own way with signals would keep this process from ending by one. */
export function launch(more = []) {
  const executablePath = process.env.ACCREDIT_CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...more], handleSIGTERM: false });
}

/** What WCAG 2.2 AA asks for, as far as a program can tell. */
export const AXE = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };

/** How pages are looked at. */
export const MODES = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  wide: { colorScheme: "light", viewport: { width: 1440, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};

/**
 * A visitor with a profile of their own; `also` are addresses of other servers that are asked on purpose. `faults` collects what no page
 * may do: open a dialog, ask another server, run against its policy, write an error into the console, or fail.
 */
export async function visitor(browser, server, { also = [], ...options } = MODES.light) {
  const context = await browser.newContext({ baseURL: server.url, reducedMotion: "reduce", ...options });
  const faults = [];
  context.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  context.on("request", (request) => {
    const url = request.url();
    const isMeant = [server.url, ...also].some((known) => url.startsWith(known));
    if (!isMeant && !url.startsWith("data:") && !url.startsWith("blob:")) faults.push(`request to ${url}`);
  });
  context.on("console", (message) => {
    // A refusal is a page with a status of its own; the browser writes that down as an error.
    // Without https a policy counts on a loopback alone.
    if (/Cross-Origin-Opener-Policy header has been ignored/.test(message.text()) && !/127\.0\.0\.1|localhost/.test(server.url)) return;
    if (message.type() === "error" && !/Failed to load resource: the server responded with a status of (4\d\d|503)/.test(message.text())) {
      faults.push(`console: ${message.text()}`);
    }
  });
  context.on("weberror", (error) => faults.push(`script: ${error.error().message}`));
  const page = await context.newPage();
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  return { context, page, faults, close: () => close(context) };
}

/** The longest that Chromium may take to close a visitor's pages, ms. */
const CLOSING = 20_000;

/** Closes a visitor's pages. Chromium may never report that a page which was still loading is closed; it ends with the browser then. */
async function close(context) {
  await Promise.all(context.pages().map((page) => page.waitForLoadState("load", { timeout: CLOSING }).catch(() => {})));
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, CLOSING)));
  await Promise.race([context.close(), late]);
  clearTimeout(timer);
}

/** A name of this computer that does not say so: a server that is asked by it does not take it for a loopback. */
export const elsewhere = (url) => url.replace("127.0.0.1", "accredit.test");

/** Lets a visitor in with a session that was got otherwise. */
export async function enterWith(guest, server, session) {
  await guest.context.addCookies([{ name: "accredit", value: session, url: server.url, httpOnly: true, sameSite: "Lax" }]);
}

/** Signs in by the form. */
export async function enter(page, email = "ada@example.com", { next = "/", tenant = "northwind" } = {}) {
  await page.goto(`/login?next=${encodeURIComponent(next)}&tenant=${tenant}`);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/login") && !url.pathname.startsWith("/auth/"));
}

/** Fills in the form for signing in that a page has led to, which does not know the tenant yet, and sends it. */
export const signInHere = (page, password) => signInAs(page, "ada@example.com", password);

/** The same as somebody else. */
export async function signInAs(page, email, password = PASSWORD) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByText("Another tenant").click();
  await page.getByLabel("Tenant").fill("northwind");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** Asks until it is so, at most for half a minute. */
export async function until(what, isSo) {
  const end = Date.now() + 30_000;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What is wrong with a page on a phone: it is wider than the screen, or a finger can miss what is touched (WCAG 2.2, 2.5.8). */
export const unfit = (page) =>
  page.evaluate(() => {
    const wrong = [];
    if (document.documentElement.scrollWidth > innerWidth) wrong.push(`${document.documentElement.scrollWidth} px wide`);
    for (const one of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
      // What is not in sight is not touched, and the line of a sentence is as high as it is.
      const isHidden = one.matches(".skip") || getComputedStyle(one.closest("thead") ?? one).clipPath !== "none";
      if (!one.checkVisibility() || isHidden) continue;
      const isInSentence = one.matches("a") && getComputedStyle(one).display === "inline" && one.parentElement.innerText.trim() !== one.innerText.trim();
      const { width, height } = (one.matches("[type=checkbox], [type=radio]") ? one.closest("label") : one).getBoundingClientRect();
      if (!isInSentence && (width < 24 || height < 24)) wrong.push(`${Math.round(width)} × ${Math.round(height)}: ${one.outerHTML.slice(0, 120)}`);
    }
    return wrong;
  });
