// `outcomes`: each way to end, and what a run may do before.

import { ArtifactError, Failed, Outcome, Rejected } from "./executor_runtime/index.js";

export async function outcomes(invocation, ctx) {
  switch (invocation.required("outcomes.end")) {
    case "failed":
      throw new Failed("backend", "the backend answered 500", { exitCode: 7, receipt: { "outcomes.seen": 500 } });
    case "rejected":
      throw new Rejected("nothing_to_do", "nothing is asked for");
    case "waits":
      ctx.log("waiting");
      await ctx.sleep(600);
      return new Outcome();
    case "artifacts":
      return artifacts(ctx);
    case "input":
      return keepInput(ctx);
    case "config":
      return new Outcome({ "outcomes.word": ctx.config("word", "") });
    default:
      return new Outcome({ "outcomes.text": "ä € 😀" }, { exitCode: 0 });
  }
}

/** Of what is begun, that stays which is finished. */
async function artifacts(ctx) {
  const kept = ctx.artifact("kept.txt", "report", "what was found");
  await kept.write("kept\n");
  await kept.finish();
  const dropped = ctx.artifact("dropped.txt", "report");
  await dropped.write("dropped\n");
  dropped.drop();
  let refused = false;
  try {
    ctx.artifact("../escaped.txt", "report");
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    refused = true;
  }
  return new Outcome({ "outcomes.refused": refused });
}

/** Keeps the input payload as an artifact. */
async function keepInput(ctx) {
  const source = ctx.openInput();
  if (source === undefined) throw new Rejected("no_input", "there is no input payload");
  const file = ctx.artifact("input", "input");
  const size = await source.copyTo(file);
  await file.finish();
  return new Outcome({ "outcomes.bytes": size });
}
