// Writes results as `cargo test` does, so that `cargo xtask test` counts them with all others.

export default async function* (source) {
  let passed = 0;
  let failed = 0;
  let ignored = 0;
  for await (const { type, data } of source) {
    if (type === "test:stderr" || type === "test:stdout") yield data.message;
    if (type === "test:diagnostic" && data.level === "error") yield `${data.message}\n`;
    if (type !== "test:pass" && type !== "test:fail") continue;
    // A file is a test too, for the runner: it counts only if it did not even start.
    const isFile = data.details?.type === "suite" || data.name.endsWith(".mjs");
    // Left out by the filter.
    if (typeof data.skip === "string" && data.skip.includes("pattern")) continue;
    if (type === "test:pass") {
      if (isFile) continue;
      if (data.skip !== undefined) ignored += 1;
      else passed += 1;
      yield `test browser: ${data.name} ... ${data.skip === undefined ? "ok" : "ignored"} (${(data.details.duration_ms / 1000).toFixed(1)} s)\n`;
    } else if (!isFile || data.details?.error?.failureType !== "subtestsFailed") {
      failed += 1;
      const error = data.details?.error;
      yield `${error?.cause?.stack ?? error?.stack ?? error}\ntest browser: ${data.name} ... FAILED\n`;
    }
  }
  yield `\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; ${ignored} ignored; 0 measured\n`;
}
