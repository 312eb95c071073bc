"""``fetch``: a page that is asked for again until the server has it, and kept."""

from executor_runtime import Context, Failed, Invocation, Outcome, Retry


def run(invocation: Invocation, ctx: Context) -> Outcome:
    url = invocation.required("fetch.url")
    retry = Retry(invocation.integer("fetch.retries", 0) or 0, first_wait=0.01)
    with ctx.http.get(url, retry=retry, timeout=invocation.number("fetch.timeout")) as page:
        if not page.ok:
            raise Failed("http_status", f"the server answered {page.status}", exit_code=page.status)
        with ctx.artifact("body", "response_body") as file:
            size = page.copy_to(file)
    return Outcome({"fetch.bytes": size}, exit_code=page.status)
