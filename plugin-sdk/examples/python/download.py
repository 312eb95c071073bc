"""``download``: a file that goes on where it was when its host died: what is there is asked for once."""

from executor_runtime import ArtifactError, Context, Failed, Invocation, Outcome
from executor_runtime.artifact import Artifact

#: How many bytes may be downloaded again.
STEP = 64 * 1024


def run(invocation: Invocation, ctx: Context) -> Outcome:
    url = invocation.required("download.url")
    file, begin = open_file(ctx)
    done = kept = begin
    with file, ctx.http.get(url, headers={"range": f"bytes={begin}-"}) as answer:
        if answer.status != 206:
            raise Failed("http_status", f"HTTP {answer.status}", exit_code=answer.status)
        for piece in answer:
            done += file.write(piece)
            if done - kept >= STEP:
                ctx.checkpoint(str(done))
                kept = done
    return Outcome({"download.begin": begin, "download.bytes": done})


def open_file(ctx: Context) -> tuple[Artifact, int]:
    """What there is of the file, and how long that is."""
    if ctx.resumed:
        done = int(ctx.resumed)
        try:
            return ctx.reopen_artifact("file", "download", done), done
        except ArtifactError as error:
            if not error.not_resumable:
                raise
            ctx.log(error.summary, "warn")
    return ctx.artifact("file", "download"), 0
