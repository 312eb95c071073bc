// Requests, by the sockets of TestHost and against real servers.

import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { HttpError } from "../executor_runtime/index.js";
import { Headers, withoutQuery } from "../executor_runtime/http.js";
import { holdsSecret } from "../executor_runtime/redirect.js";
import { retryAfter } from "../executor_runtime/retry.js";
import { TestHost, invocation } from "../executor_runtime/testing.js";
import { respond, withServer } from "./server.js";

/** Runs `call(ctx)`, and gives what it returns; what it throws is thrown. */
async function run(call, host = new TestHost()) {
  let kept;
  const result = await host.run(async (_, ctx) => {
    kept = await call(ctx);
  }, invocation("test"));
  if (result.error !== undefined) throw result.error;
  assert.equal(result.status, "succeeded", result.summary);
  return kept;
}

const isKind = (kind, words) => (error) => {
  assert.ok(error instanceof HttpError, String(error));
  assert.equal(error.kind, kind);
  assert.match(error.message, words ?? /./);
  return true;
};

test("an answer is read as it comes", () =>
  withServer(
    (_, response) => respond(response, 404, '{"a": 1}', { "x-seen": "1" }),
    async (server) => {
      const seen = await run(async (ctx) => {
        const params = { x: "1 2", y: ["a", "b"], z: true };
        const answer = await ctx.fetch(`${server.url}/ä b?q=1#part`, { params });
        const first = await answer.bytes(3);
        return [answer.status, answer.ok, answer.headers.get("X-Seen"), Buffer.from(first).toString(), await answer.text()];
      });
      assert.deepEqual(seen, [404, false, "1", '{"a', '": 1}']);
      const [request] = server.requests;
      assert.equal(`${request.method} ${request.path}`, "GET /%C3%A4%20b?q=1&x=1+2&y=a&y=b&z=true");
      assert.match(request.headers["user-agent"], /^executor-runtime-sdk-javascript\//);
      await assert.rejects(
        run(async (ctx) => (await ctx.fetch(server.url)).raiseForStatus()),
        isKind("http_status", /answered 404/),
      );
    },
  ));

test("bodies are whole or in pieces", () =>
  withServer(
    (_, response) => respond(response, 200, "no JSON"),
    async (server) => {
      const put = { method: "PUT" };
      const host = new TestHost({ input: "input".repeat(50_000) });
      await run(async (ctx) => {
        await ctx.fetch(server.url, { method: "POST", json: { a: 1 } });
        await ctx.fetch(server.url, { method: "POST", body: "text" });
        await ctx.fetch(server.url, { method: "POST", body: new URLSearchParams({ a: "b c" }) });
        await ctx.fetch(server.url, { ...put, body: Array.from({ length: 3 }, () => "x".repeat(9)) });
        await ctx.fetch(server.url, { ...put, body: ctx.openInput() });
      }, host);
      const bodies = server.requests.map(({ body }) => body);
      assert.deepEqual(bodies, ['{"a":1}', "text", "a=b+c", "x".repeat(27), "input".repeat(50_000)]);
      assert.equal(server.requests[0].headers["content-type"], "application/json");
      assert.equal(server.requests[4].headers["transfer-encoding"], "chunked");
      await assert.rejects(
        run(async (ctx) => (await ctx.fetch(server.url)).json()),
        isKind("network", /sent no JSON/),
      );
      const refused = run((ctx) => ctx.fetch(server.url, { methd: "POST" }));
      await assert.rejects(refused, /has no option 'methd': it has method/);
    },
  ));

test("redirects are followed", () =>
  withServer(
    (request, response) =>
      request.url === "/end"
        ? respond(response, 200, request.method)
        : respond(response, Number(request.url.slice(1)), "", { location: "/end" }),
    async (server) => {
      const seen = await run(async (ctx) => {
        const texts = [];
        for (const [method, status] of [["POST", 302], ["PUT", 303], ["POST", 307], ["GET", 308]]) {
          const body = method === "GET" ? undefined : "body";
          texts.push(await (await ctx.fetch(`${server.url}/${status}`, { method, body })).text());
        }
        texts.push((await ctx.fetch(`${server.url}/301`, { redirects: 0 })).status);
        return texts;
      });
      assert.deepEqual(seen, ["GET", "GET", "POST", "GET", 301]);
      const ends = server.requests.filter(({ path }) => path === "/end");
      assert.deepEqual(ends.map(({ body }) => body), ["", "", "body", ""]);
      assert.equal(ends[0].headers["content-length"], undefined);
    },
  ));

test("no secret goes to another origin", () =>
  withServer(
    (_, response) => respond(response, 200),
    (other) =>
      withServer(
        (_, response) => respond(response, 302, "", { location: other.url }),
        async (server) => {
          const headers = { authorization: "a", "x-api-keys": "b", "idempotency-key": "c", "x-other": "d" };
          await run((ctx) => ctx.fetch(server.url, { headers }));
          assert.equal(server.requests[0].headers["x-api-keys"], "b");
          const kept = Object.keys(headers).filter((name) => name in other.requests[0].headers);
          assert.deepEqual(kept, ["idempotency-key", "x-other"]);
          for (const name of ["Cookie", "x-accesskey", "private-token", "X-Session"]) assert.ok(holdsSecret(name), name);
          for (const word of ["passphrase", "user-pwd", "pass", "totp", "bearer", "dpop", "hub-signature-256", "sig", "sids",
            "phpsessid", "csrf", "creds", "client-assertion"]) {
            assert.ok(holdsSecret(`X-${word}`), word);
          }
          for (const name of ["cache-key", "accept", "x-bypass", "x-inside", "x-design", "x-sacred", "x-request-id", "author"]) {
            assert.ok(!holdsSecret(name), name);
          }
        },
      ),
  ));

test("redirects that can not be followed", () =>
  withServer(
    (request, response) => {
      const location = { "/loop": "/loop", "/file": "file:///etc", "/none": "http://[" }[request.url];
      respond(response, 307, "", { location });
    },
    async (server) => {
      for (const [path, words] of [["/loop", /more than 20/], ["/file", /no URL/], ["/none", /no URL/]]) {
        await assert.rejects(run((ctx) => ctx.fetch(server.url + path)), isKind("redirect", words));
      }
      const streamed = run((ctx) => ctx.fetch(`${server.url}/loop`, { method: "POST", body: ["x"] }));
      await assert.rejects(streamed, isKind("redirect", /is not kept/));
    },
  ));

test("a request is tried again when the server says so", () =>
  withServer(
    (_, response, server) => {
      const count = server.requests.length;
      respond(response, count < 3 ? 503 : 200, "done", { "retry-after": count === 1 ? "7" : "0" });
    },
    async (server) => {
      const host = new TestHost();
      assert.equal(await run(async (ctx) => (await ctx.fetch(server.url, { retry: 3 })).text(), host), "done");
      assert.equal(server.requests.length, 3);
      assert.ok(host.slept >= 7.5 && host.slept <= 8, String(host.slept));
    },
  ));

test("what can not be repeated is repeated only if asked", async () => {
  await withServer(
    (_, response) => respond(response, 503),
    async (server) => {
      const post = { method: "POST", body: "x" };
      await run((ctx) => ctx.fetch(server.url, { ...post, retry: 2 }));
      assert.equal(server.requests.length, 1);
      await run((ctx) => ctx.fetch(server.url, { ...post, retry: { times: 2, anyMethod: true } }));
      assert.equal(server.requests.length, 4);
      await run((ctx) => ctx.fetch(server.url, { method: "PUT", body: ["x"], retry: 2 }));
      assert.equal(server.requests.length, 5);
    },
  );
  await withServer(
    (_, response) => respond(response, 429, "", { "retry-after": "3600" }),
    async (server) => {
      assert.equal((await run((ctx) => ctx.fetch(server.url, { retry: 2 }))).status, 429);
      assert.equal(server.requests.length, 1);
    },
  );
});

test("Retry-After is seconds or a date", () => {
  const noon = "Wed, 21 Oct 2015 12:00:00 GMT";
  for (const [value, expected] of [
    ["0", 0],
    [" 120 ", 120],
    ["Wed, 21 Oct 2015 12:00:07 GMT", 7],
    ["Wed, 21 Oct 2015 11:00:00 GMT", 0],
    ["soon", 0],
    ["-1", 0],
    ["", 0],
  ]) {
    assert.equal(retryAfter(new Headers([["Retry-After", value], ["Date", noon]])), expected, value);
  }
});

test("no wait before a retry that would come too late", () =>
  withServer(
    (_, response) => respond(response, 503, "busy", { "retry-after": "20" }),
    async (server) => {
      const busy = async (ctx) => (await ctx.fetch(server.url, { retry: 3 })).text();
      const host = new TestHost({ timeout: 15 });
      assert.equal(await run(busy, host), "busy");
      assert.deepEqual([server.requests.length, host.slept], [1, 0]);
      // One attempt more, and no third.
      const later = new TestHost({ timeout: 30 });
      assert.equal(await run(busy, later), "busy");
      assert.deepEqual([server.requests.length, Math.round(later.slept)], [3, 20]);

      // After the request to stop nothing is tried again.
      const told = async (_, ctx) => {
        try {
          await ctx.sleep(600);
        } finally {
          ctx.log((await ctx.fetchAfterStop(server.url, { retry: { times: 3, longestWait: 3600 } })).status);
        }
      };
      const stopped = new TestHost({ grace: 1000 });
      stopped.stopAfter(30);
      assert.equal((await stopped.run(told, invocation("test"))).status, "cancelled");
      assert.deepEqual([stopped.logText, server.requests.length], ["info: 503", 4]);
    },
  ));

test("no query is shown", () =>
  withServer(
    (request, response) =>
      request.url.startsWith("/away")
        ? respond(response, 307, "", { location: "http://[?token=S3CRET" })
        : respond(response, 503, "no JSON", { "retry-after": "0" }),
    async (server) => {
      const host = new TestHost();
      for (const call of [
        async (ctx) => (await ctx.fetch(`${server.url}/p?token=S3CRET`)).raiseForStatus(),
        async (ctx) => (await ctx.fetch(`${server.url}/p`, { params: { token: "S3CRET" }, retry: 1 })).json(),
        (ctx) => ctx.fetch(`${server.url}/away?token=S3CRET`),
        (ctx) => ctx.fetch("ftp://h/?token=S3CRET"),
        (ctx) => ctx.fetch("http://[?token=S3CRET"),
        (ctx) => ctx.fetch("http://u:S3CRET@[/"),
        (ctx) => ctx.fetch("/x#token=S3CRET"),
      ]) {
        await assert.rejects(run(call, host), (error) => {
          assert.ok(error instanceof HttpError, String(error));
          assert.ok(!error.message.includes("S3CRET"), error.message);
          return true;
        });
      }
      assert.match(host.logText, /\/p answered 503/);
      assert.ok(!host.logText.includes("S3CRET"), host.logText);
      for (const [url, shown] of [
        ["https://h:1/p?token=s#f", "https://h:1/p"],
        ["https://u:p@h/p@2#token=s", "https://h/p@2"],
        ["https://u:p@h", "https://h"],
        ["/p?x=//a@b", "/p"],
        ["a@b", "a@b"],
      ]) {
        assert.equal(withoutQuery(url), shown);
      }
    },
  ));

test("errors have a kind", async () => {
  const closed = net.createServer();
  await new Promise((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address();
  await new Promise((resolve) => closed.close(resolve));
  for (const [url, kind, words] of [
    [`http://127.0.0.1:${port}/`, "network", new RegExp(`connection refused by 127.0.0.1:${port}`)],
    ["ftp://a/", "invalid_request", /no absolute http or https URL/],
    ["http://u:p@a/", "invalid_request", /use a header/],
    ["/x", "invalid_request", /no absolute/],
  ]) {
    await assert.rejects(run((ctx) => ctx.fetch(url)), isKind(kind, words));
  }
  for (const headers of [{ Host: "a" }, { x: "a\r\nb" }]) {
    await assert.rejects(run((ctx) => ctx.fetch("http://127.0.0.1/", { headers })), isKind("invalid_request"));
  }
  const failure = new Error("from the body");
  const body = (async function* () {
    yield "x";
    throw failure;
  })();
  await withServer(
    (_, response) => respond(response, 200),
    (server) => assert.rejects(run((ctx) => ctx.fetch(server.url, { method: "PUT", body })), failure),
  );
});

test("a body that breaks off is an error", () =>
  withServer(
    (_, response) => {
      response.writeHead(200, { "content-length": "10" });
      response.write("half");
      setTimeout(() => response.destroy(), 20);
    },
    (server) =>
      assert.rejects(
        run(async (ctx) => (await ctx.fetch(server.url)).text()),
        isKind("network", /before its answer was complete/),
      ),
  ));

test("the request to stop ends a wait", () =>
  withServer(
    (request, response) => {
      if (request.url === "/body") {
        response.writeHead(200, { "content-length": "10" });
        response.write("half");
      }
    },
    async (server) => {
      for (const path of ["/head", "/body"]) {
        const read = async (_, ctx) => void (await (await ctx.fetch(server.url + path)).text());
        const host = new TestHost();
        const running = host.run(read, invocation("test"));
        setTimeout(() => host.stop(), 50);
        const stopped = await running;
        assert.equal(stopped.status, "cancelled");
        assert.match(stopped.summary, /cancelled in GET 127.0.0.1/);
        const late = await new TestHost({ timeout: 0.1 }).run(read, invocation("test"));
        assert.equal(late.status, "timed_out");
        const timeout = run(async (ctx) => (await ctx.fetch(server.url + path, { timeout: 0.1 })).text());
        await assert.rejects(timeout, isKind("timeout"));
      }
    },
  ));

test("the backend can be told after the stop", () =>
  withServer(
    (_, response) => respond(response, 200),
    async (server) => {
      const host = new TestHost();
      host.stopAfter(30);
      const told = async (_, ctx) => {
        try {
          await ctx.sleep(600);
        } finally {
          await ctx.fetchAfterStop(`${server.url}/stopped`, { method: "POST" });
        }
      };
      assert.equal((await host.run(told, invocation("test"))).status, "cancelled");
      assert.deepEqual(server.requests.map(({ path }) => path), ["/stopped"]);
    },
  ));

test("a request after the stop that comes before it does not shorten the time after it", () =>
  withServer(
    (_, response) => respond(response, 200),
    async (server) => {
      const host = new TestHost({ grace: 100 });
      host.stopAfter(3000);
      const told = async (_, ctx) => {
        await ctx.fetchAfterStop(`${server.url}/early`);
        await ctx.sleep(2000);
        await ctx.fetchAfterStop(`${server.url}/later`);
        try {
          await ctx.sleep(2000);
        } finally {
          await ctx.fetchAfterStop(`${server.url}/stopped`);
        }
      };
      assert.equal((await host.run(told, invocation("test"))).status, "cancelled");
      assert.deepEqual(server.requests.map(({ path }) => path), ["/early", "/later", "/stopped"]);
    },
  ));

test("several requests are under way at once", () => {
  const waiting = [];
  return withServer(
    (_, response) => {
      waiting.push(response);
      // None is answered before both are there.
      if (waiting.length === 2) for (const one of waiting) respond(one, 200, "both");
    },
    async (server) => {
      const both = (ctx) => Promise.all([1, 2].map(async () => (await ctx.fetch(server.url)).text()));
      assert.deepEqual(await run(both, new TestHost({ timeout: 30 })), ["both", "both"]);
    },
  );
});
