// Measures the first paint of pages, by hand: `node paint.mjs` in this directory, with the environment that `cargo xtask test browser` sets. It
// prints the median of ten loads of each page by a browser that has style and script since the sign-in, and the bytes of the page.

import { enter, launch, visitor } from "./browser.mjs";
import { start } from "./server.mjs";
import { VARIABLES, fill } from "./world.mjs";

const LOADS = 10;
const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const server = await start(VARIABLES);
await fill(server);
const browser = await launch();
for (const path of ["/", "/agents", "/tokens", "/agents/support-desk", "/admin/audit"]) {
  const guest = await visitor(browser, server);
  await enter(guest.page);
  const loads = [];
  for (let load = 0; load < LOADS; load++) {
    const answer = await guest.page.goto(path);
    const html = (await answer.body()).byteLength;
    loads.push(
      await guest.page.evaluate(
        async (html) => {
          const paint = await new Promise((resolve) => {
            const observer = new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach(resolve));
            observer.observe({ type: "paint", buffered: true });
          });
          const [page] = performance.getEntriesByType("navigation");
          return { paint: paint.startTime, answered: page.responseStart, whole: page.responseEnd, html };
        },
        html,
      ),
    );
  }
  const of = (name) => median(loads.map((load) => load[name])).toFixed(0);
  console.log(`${path}: first paint ${of("paint")} ms, first byte ${of("answered")} ms, last byte ${of("whole")} ms, ${loads[0].html} bytes`);
  await guest.close();
}
const page = await (await fetch(`${server.url}/login`)).text();
for (const [, link] of page.matchAll(/(?:href|src)="([^"]*\/assets\/[^"]*)"/g)) {
  console.log(`${link}: ${(await (await fetch(server.url + link)).arrayBuffer()).byteLength} bytes`);
}
await browser.close();
await server.stop();
