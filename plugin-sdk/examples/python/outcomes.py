"""``outcomes``: each way to end, and what a run may do before."""

from executor_runtime import ArtifactError, Context, Failed, Invocation, Outcome, Rejected


def run(invocation: Invocation, ctx: Context) -> Outcome:
    end = invocation.required("outcomes.end")
    if end == "failed":
        raise Failed("backend", "the backend answered 500", exit_code=7, receipt={"outcomes.seen": 500})
    if end == "rejected":
        raise Rejected("nothing_to_do", "nothing is asked for")
    if end == "waits":
        ctx.log("waiting")
        ctx.sleep(600)
        return Outcome()
    if end == "artifacts":
        return artifacts(ctx)
    if end == "input":
        return keep_input(ctx)
    if end == "config":
        return Outcome({"outcomes.word": ctx.config("word", "") or ""})
    return Outcome({"outcomes.text": "ä € 😀"}, exit_code=0)


def artifacts(ctx: Context) -> Outcome:
    """Of what is begun, that stays which is finished."""
    with ctx.artifact("kept.txt", "report", "what was found") as kept:
        kept.write("kept\n")
    dropped = ctx.artifact("dropped.txt", "report")
    dropped.write("dropped\n")
    dropped.drop()
    refused = False
    try:
        ctx.artifact("../escaped.txt", "report")
    except ArtifactError:
        refused = True
    return Outcome({"outcomes.refused": refused})


def keep_input(ctx: Context) -> Outcome:
    """Keeps the input payload as an artifact."""
    source = ctx.open_input()
    if source is None:
        raise Rejected("no_input", "there is no input payload")
    with source, ctx.artifact("input", "input") as file:
        size = sum(file.write(piece) for piece in iter(lambda: source.read(65536), b""))
    return Outcome({"outcomes.bytes": size})
