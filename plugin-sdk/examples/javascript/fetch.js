// `fetch`: a page that is asked for again until the server has it, and kept.

import { Failed, Outcome } from "./executor_runtime/index.js";

export async function fetch(invocation, ctx) {
  const retry = { times: invocation.integer("fetch.retries", 0), firstWait: 0.01 };
  const timeout = invocation.number("fetch.timeout");
  const page = await ctx.fetch(invocation.required("fetch.url"), { retry, timeout });
  if (!page.ok) {
    throw new Failed("http_status", `the server answered ${page.status}`, { exitCode: page.status });
  }
  const file = ctx.artifact("body", "response_body");
  const size = await page.copyTo(file);
  await file.finish();
  return new Outcome({ "fetch.bytes": size }, { exitCode: page.status });
}
