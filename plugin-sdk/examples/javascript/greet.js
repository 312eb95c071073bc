// `greet`: the smallest kind.

import { Outcome } from "./executor_runtime/index.js";

export async function greet(invocation, ctx) {
  const name = invocation.required("greet.name");
  ctx.log(`greeting ${name}`);
  return new Outcome({ "greet.text": `Hello, ${name}!` });
}
