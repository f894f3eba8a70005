// A way to a host on which a page comes in pieces.

import { createServer, request } from "node:http";

/** Into how many pieces a page is cut, and how long the next one lets wait: long enough for a browser to paint the last. */
const PIECES = 4;
const PAUSE_MS = 50;

/** Starts it in front of a server. What is no page goes through at once. */
export async function slowly(server) {
  const to = new URL(server.url);
  const way = createServer((asked, answer) => {
    const onward = request({ host: to.hostname, port: to.port, method: asked.method, path: asked.url, headers: asked.headers }, (given) => {
      answer.writeHead(given.statusCode, given.rawHeaders);
      if (!/^text\/html/.test(given.headers["content-type"] ?? "")) return given.pipe(answer);
      const parts = [];
      given.on("data", (part) => parts.push(part));
      given.on("end", async () => {
        const page = Buffer.concat(parts);
        const size = Math.ceil(page.length / PIECES);
        for (let at = 0; at < page.length; at += size) {
          answer.write(page.subarray(at, at + size));
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
        answer.end();
      });
    });
    onward.once("error", () => answer.destroy());
    // A stream ends with its reader.
    answer.once("close", () => onward.destroy());
    asked.pipe(onward);
  });
  await new Promise((resolve) => way.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    way.closeAllConnections();
    way.close();
  };
  return { ...server, url: `http://127.0.0.1:${way.address().port}`, stop };
}
