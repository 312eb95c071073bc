// `download`: a file that goes on where it was when its host died: what is there is asked for once.

import { ArtifactError, Failed, Outcome } from "./executor_runtime/index.js";

/** How many bytes may be downloaded again. */
const STEP = 64 * 1024;

export async function download(invocation, ctx) {
  const url = invocation.required("download.url");
  const { file, begin } = openFile(ctx);
  let done = begin;
  let kept = begin;
  const answer = await ctx.fetch(url, { headers: { range: `bytes=${begin}-` } });
  if (answer.status !== 206) {
    throw new Failed("http_status", `HTTP ${answer.status}`, { exitCode: answer.status });
  }
  for await (const piece of answer) {
    done += await file.write(piece);
    if (done - kept >= STEP) {
      await ctx.checkpoint(String(done));
      kept = done;
    }
  }
  await file.finish();
  return new Outcome({ "download.begin": begin, "download.bytes": done });
}

/** What there is of the file, and how long that is. */
function openFile(ctx) {
  if (ctx.resumed !== undefined) {
    const done = Number(ctx.resumedText);
    try {
      return { file: ctx.reopenArtifact("file", "download", done), begin: done };
    } catch (error) {
      if (!(error instanceof ArtifactError && error.notResumable)) throw error;
      ctx.log(error.summary, "warn");
    }
  }
  return { file: ctx.artifact("file", "download"), begin: 0 };
}
