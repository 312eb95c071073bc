"""Requests, by the sockets of TestHost and against real servers."""

import pathlib
import re
import socket
import threading
import time
import unittest

from executor_runtime import HttpError, Retry, redirect
from executor_runtime.redirect import holds_secret
from executor_runtime.retry import retry_after
from executor_runtime.testing import TestHost, invocation
from tests.server import Server, respond


def run(function, host=None):
    """Runs ``function(ctx)``, and returns what it returns; what it raises is raised."""
    kept = []
    host = host or TestHost()
    result = host.run(lambda _, ctx: kept.append(function(ctx)), invocation("test"))
    if result.exception is not None:
        raise result.exception
    if result.status != "succeeded":
        raise AssertionError(result)
    return kept[0]


class Requests(unittest.TestCase):
    def test_an_answer_is_read_as_it_comes(self):
        with Server(lambda handler: respond(handler, 404, b"{\"a\": 1}", x_seen="1")) as server:

            def fetch(ctx):
                with ctx.http.get(server.url + "/ä b?q=1", params={"x": "1 2", "y": ["a", "b"], "z": True}) as answer:
                    return answer.status, answer.ok, answer.headers["x-seen"], answer.read(3), answer.text()

            self.assertEqual(run(fetch), (404, False, "1", b'{"a', '": 1}'))
            method, path, headers, _ = server.requests[0]
            self.assertEqual((method, path), ("GET", "/%C3%A4%20b?q=1&x=1+2&y=a&y=b&z=true"))
            self.assertTrue(headers["user-agent"].startswith("executor-runtime-sdk-python/"))

    def test_bodies_are_whole_or_in_pieces(self):
        with Server(lambda handler: respond(handler, 200)) as server:

            def send(ctx):
                ctx.http.post(server.url, json={"a": 1})
                ctx.http.post(server.url, body="text")
                ctx.http.request("PUT", server.url, body=(b"x" * 9 for _ in range(3)))
                ctx.http.request("PUT", server.url, body=ctx.open_input())

            run(send, TestHost(input=b"input" * 50_000))
            bodies = [body for _, _, _, body in server.requests]
            self.assertEqual(bodies, [b'{"a": 1}', b"text", b"x" * 27, b"input" * 50_000])
            self.assertEqual(server.requests[0][2]["content-type"], "application/json")
            self.assertEqual(server.requests[3][2]["transfer-encoding"], "chunked")

    def test_redirects_are_followed(self):
        def answer(handler):
            if handler.path == "/end":
                respond(handler, 200, handler.command.encode())
            else:
                respond(handler, int(handler.path[1:]), location="/end")

        with Server(answer) as server:

            def follow(ctx):
                seen = []
                for method, status in [("POST", 302), ("PUT", 303), ("POST", 307), ("GET", 308)]:
                    body = None if method == "GET" else b"body"
                    seen.append(ctx.http.request(method, f"{server.url}/{status}", body=body).text())
                seen.append(ctx.http.get(f"{server.url}/301", redirects=0).status)
                return seen

            self.assertEqual(run(follow), ["GET", "GET", "POST", "GET", 301])
            ends = [(method, body) for method, path, _, body in server.requests if path == "/end"]
            self.assertEqual(ends, [("GET", b""), ("GET", b""), ("POST", b"body"), ("GET", b"")])
            self.assertNotIn("content-length", [r for r in server.requests if r[1] == "/end"][0][2])

    def test_no_secret_goes_to_another_origin(self):
        with Server(lambda handler: respond(handler, 200)) as other:
            with Server(lambda handler: respond(handler, 302, location=other.url)) as server:
                headers = {"authorization": "a", "x-api-keys": "b", "idempotency-key": "c", "x-other": "d"}
                run(lambda ctx: ctx.http.get(server.url, headers=headers))
                self.assertEqual(server.requests[0][2]["x-api-keys"], "b")
                kept = other.requests[0][2]
                self.assertEqual([name for name in headers if name in kept], ["idempotency-key", "x-other"])
        for name in ["Cookie", "x-accesskey", "private-token", "X-Session"]:
            self.assertTrue(holds_secret(name), name)
        for word in ["passphrase", "passwd", "user-pwd", "pass", "totp", "bearer", "dpop", "hub-signature-256", "sig",
                     "session-id", "phpsessid", "sid", "sids", "csrf", "creds", "client-assertion"]:
            self.assertTrue(holds_secret("X-" + word), word)
        for name in ["cache-key", "accept", "user-agent", "x-bypass", "x-passthrough", "x-inside", "x-design", "x-signal",
                     "x-sacred", "x-request-id", "traceparent", "range", "origin", "referer", "if-none-match", "author"]:
            self.assertFalse(holds_secret(name), name)

    def test_the_headers_that_hold_a_secret_are_the_same_in_every_sdk(self):
        sdks = pathlib.Path(__file__).parents[2]
        if not (sdks / "protocol/src/secret_name.rs").is_file():
            self.skipTest("the SDKs for other languages are not here")
        for source, declaration in [
            ("protocol/src/secret_name.rs", r"const {name}: \[&str; \d+\] = \[(.*?)\];"),
            ("javascript/executor_runtime/redirect.js", r"const {name} = \[(.*?)\];"),
            ("c/executor_runtime/headers.c", r"const {name}\[\] = {{(.*?)NULL}};"),
        ]:
            text = (sdks / source).read_text()
            for name, words in [
                ("SECRET_WORDS", redirect._SECRET_WORDS),
                ("SECRET_WHOLE_WORDS", redirect._SECRET_WHOLE_WORDS),
                ("NOT_SECRET", redirect._NOT_SECRET),
            ]:
                listed = re.search(declaration.format(name=name), text, re.DOTALL)
                self.assertIsNotNone(listed, f"{source}: {name}")
                self.assertEqual(tuple(re.findall('"(.*?)"', listed[1])), words, source)

    def test_redirects_that_can_not_be_followed(self):
        places = {"/loop": "/loop", "/file": "file:///etc", "/none": "http://["}
        with Server(lambda handler: respond(handler, 307, location=places[handler.path])) as server:
            for path, words in [("/loop", "more than 20"), ("/file", "no URL"), ("/none", "no URL")]:
                with self.assertRaisesRegex(HttpError, words) as raised:
                    run(lambda ctx: ctx.http.get(server.url + path))
                self.assertEqual(raised.exception.kind, "redirect")
            with self.assertRaisesRegex(HttpError, "is not kept"):
                run(lambda ctx: ctx.http.post(server.url + "/loop", body=iter([b"x"])))

    def test_a_request_is_tried_again_when_the_server_says_so(self):
        def answer(handler):
            count = len(server.requests)
            respond(handler, 503 if count < 3 else 200, b"done", retry_after=7 if count == 1 else 0)

        with Server(answer) as server:
            host = TestHost()
            self.assertEqual(run(lambda ctx: ctx.http.get(server.url, retry=3).text(), host), "done")
            self.assertEqual(len(server.requests), 3)
            self.assertTrue(7.5 <= host.slept <= 8, host.slept)

    def test_what_can_not_be_repeated_is_repeated_only_if_asked(self):
        with Server(lambda handler: respond(handler, 503)) as server:
            run(lambda ctx: ctx.http.post(server.url, body=b"x", retry=2))
            self.assertEqual(len(server.requests), 1)
            run(lambda ctx: ctx.http.post(server.url, body=b"x", retry=Retry(2, any_method=True)))
            self.assertEqual(len(server.requests), 4)
            run(lambda ctx: ctx.http.request("PUT", server.url, body=iter([b"x"]), retry=2))
            self.assertEqual(len(server.requests), 5)
        with Server(lambda handler: respond(handler, 429, retry_after=3600)) as server:
            self.assertEqual(run(lambda ctx: ctx.http.get(server.url, retry=2).status), 429)
            self.assertEqual(len(server.requests), 1)

    def test_retry_after_is_seconds_or_a_date(self):
        noon = "Wed, 21 Oct 2015 12:00:00 GMT"
        for value, expected in [
            ("0", 0),
            (" 120 ", 120),
            ("Wed, 21 Oct 2015 12:00:07 GMT", 7),
            ("Wed, 21 Oct 2015 11:00:00 GMT", 0),
            ("soon", 0),
            ("-1", 0),
            ("", 0),
            ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0),
            ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", 0),
            ("Mon, 01 Jan 2024 00:00:00 -9999", 0),
        ]:
            self.assertEqual(retry_after([("Retry-After", value), ("Date", noon)]), expected, value)

    def test_no_wait_before_a_retry_that_would_come_too_late(self):
        with Server(lambda handler: respond(handler, 503, b"busy", retry_after=20)) as server:
            host = TestHost(timeout=15)
            self.assertEqual(run(lambda ctx: ctx.http.get(server.url, retry=3).text(), host), "busy")
            self.assertEqual((len(server.requests), host.slept), (1, 0))
            # One attempt more, and no third.
            host = TestHost(timeout=30)
            self.assertEqual(run(lambda ctx: ctx.http.get(server.url, retry=3).text(), host), "busy")
            self.assertEqual((len(server.requests), host.slept), (3, 20))

            # After the request to stop nothing is tried again.
            def told(_, ctx):
                try:
                    ctx.sleep(600)
                finally:
                    ctx.log(ctx.http.after_stop().get(server.url, retry=Retry(3, longest_wait=3600)).status)

            host = TestHost(grace=1000)
            host.stop_after(30)
            self.assertEqual(host.run(told, invocation("test")).status, "cancelled")
            self.assertEqual((host.logs[-1], len(server.requests)), (("info", "503"), 4))

    def test_no_query_is_shown(self):
        def answer(handler):
            if handler.path.startswith("/away"):
                respond(handler, 307, location="http://[?token=S3CRET")
            else:
                respond(handler, 503, b"no JSON", retry_after=0)

        host = TestHost()
        with Server(answer) as server:
            for fetch in [
                lambda ctx: ctx.http.get(server.url + "/p?token=S3CRET").raise_for_status(),
                lambda ctx: ctx.http.get(server.url + "/p", params={"token": "S3CRET"}, retry=1).json(),
                lambda ctx: ctx.http.get(server.url + "/away?token=S3CRET"),
                lambda ctx: ctx.http.get("ftp://h/?token=S3CRET"),
                lambda ctx: ctx.http.get("http://[?token=S3CRET"),
                lambda ctx: ctx.http.get("http://u:S3CRET@[/"),
                lambda ctx: ctx.http.get("/x#token=S3CRET"),
            ]:
                with self.assertRaises(HttpError) as raised:
                    run(fetch, host)
                self.assertNotIn("S3CRET", str(raised.exception))
        self.assertIn("/p answered 503", host.log_text())
        self.assertNotIn("S3CRET", host.log_text())

    def test_a_request_that_is_not_valid_is_refused(self):
        half = "\ud83d"
        for method, url, headers, words in [
            ("GET", "http://h/", {"x y": "1"}, "the header 'x y' is not valid"),
            ("GET", "http://h/", {"": "1"}, "the header '' is not valid"),
            ("GET", "http://h/", {"x:": "1"}, "is not valid"),
            ("GET", "http://h/", {"ä": "1"}, "is not valid"),
            ("GET", "http://h/", {half: "1"}, "is not valid"),
            ("GET", "http://h/", {"x": half}, "the header 'x' is not valid"),
            ("GET", "http://h/", {"x": "a\x01"}, "is not valid"),
            ("GET", "http://h/", {"x": "a\x7f"}, "is not valid"),
            ("A B", "http://h/", {}, "'A B' is no method"),
            (half, "http://h/", {}, "is no method"),
            ("GET", "http://h/" + half, {}, "UTF-8"),
        ]:
            with self.assertRaisesRegex(HttpError, words) as raised:
                run(lambda ctx: ctx.http.request(method, url, headers=headers))
            self.assertEqual(raised.exception.kind, "invalid_request")
        with Server(lambda handler: respond(handler, 200)) as server:
            run(lambda ctx: ctx.http.get(server.url, headers={"!#$%&'*+-.^_`|~09aZ": "a\tä"}))

    def test_the_length_of_a_body_is_the_one_that_it_has(self):
        with Server(lambda handler: respond(handler, 200)) as server:

            def send(ctx):
                for method, body in [("GET", None), ("POST", None), ("PUT", b"four")]:
                    ctx.http.request(method, server.url, headers={"Content-Length": "9"}, body=body, timeout=20)
                ctx.http.request("PUT", server.url, headers={"content-length": "6"}, body=iter([b"abc", b"def"]))

            run(send)
            lengths = [headers.get("content-length") for _, _, headers, _ in server.requests]
            self.assertEqual(lengths, [None, "0", "4", "6"])
            self.assertNotIn("transfer-encoding", server.requests[3][2])
            self.assertEqual(server.requests[3][3], b"abcdef")
            for length, kind, words in [
                ("5", "request_body", "longer"),
                ("7", "request_body", "1 bytes shorter"),
                ("x", "invalid_request", "not valid"),
                ("-1", "invalid_request", "not valid"),
            ]:
                with self.assertRaisesRegex(HttpError, words) as raised:
                    run(lambda ctx: ctx.http.post(server.url, headers={"content-length": length}, body=iter([b"abcdef"])))
                self.assertEqual(raised.exception.kind, kind)

    def test_errors_have_a_kind(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        for url, kind, words in [
            (f"http://127.0.0.1:{port}/", "network", f"connection refused by 127.0.0.1:{port}"),
            ("ftp://a/", "invalid_request", "no absolute http or https URL"),
            ("http://u:p@a/", "invalid_request", "use a header"),
            ("/x", "invalid_request", "no absolute"),
            ("http://ä.example/", "invalid_request", "in ASCII"),
        ]:
            with self.assertRaisesRegex(HttpError, words) as raised:
                run(lambda ctx: ctx.http.get(url))
            self.assertEqual(raised.exception.kind, kind)
        for headers in [{"Host": "a"}, {"x": "a\r\nb"}]:
            with self.assertRaises(HttpError):
                run(lambda ctx: ctx.http.get("http://127.0.0.1/", headers=headers))

    def test_a_body_that_breaks_off_is_an_error(self):
        def answer(handler):
            handler.send_response(200)
            handler.send_header("content-length", "10")
            handler.end_headers()
            handler.wfile.write(b"half")

        with Server(answer) as server, self.assertRaisesRegex(HttpError, "before its answer was complete"):
            run(lambda ctx: ctx.http.get(server.url).read())

    def test_the_request_to_stop_ends_a_wait(self):
        over = threading.Event()

        def answer(handler):
            if handler.path == "/body":
                handler.send_response(200)
                handler.send_header("content-length", "10")
                handler.end_headers()
                handler.wfile.write(b"half")
                handler.wfile.flush()
            over.wait(60)

        with Server(answer) as server:
            for path in ["/head", "/body"]:
                begun = time.monotonic()
                host = TestHost()
                host.stop_after(0.1)
                result = host.run(lambda _, ctx: ctx.http.get(server.url + path).read() and None, invocation("test"))
                self.assertEqual(result.status, "cancelled")
                self.assertIn("cancelled in GET 127.0.0.1", result.summary)
                result = TestHost(timeout=0.1).run(
                    lambda _, ctx: ctx.http.get(server.url + path).read() and None, invocation("test")
                )
                self.assertEqual(result.status, "timed_out")
                with self.assertRaises(HttpError) as raised:
                    run(lambda ctx: ctx.http.get(server.url + path, timeout=0.1).read())
                self.assertEqual(raised.exception.kind, "timeout")
                self.assertLess(time.monotonic() - begun, 30)
            over.set()

    def test_the_backend_can_be_told_after_the_stop(self):
        with Server(lambda handler: respond(handler, 200)) as server:

            def told(_, ctx):
                try:
                    ctx.sleep(600)
                finally:
                    ctx.http.after_stop().post(server.url + "/stopped")

            host = TestHost()
            host.stop_after(30)
            self.assertEqual(host.run(told, invocation("test")).status, "cancelled")
            self.assertEqual([path for _, path, _, _ in server.requests], ["/stopped"])

    def test_a_request_after_the_stop_that_comes_before_it_does_not_shorten_the_time_after_it(self):
        with Server(lambda handler: respond(handler, 200)) as server:

            def told(_, ctx):
                ctx.http.after_stop().get(server.url + "/early")
                ctx.sleep(2000)
                ctx.http.after_stop().get(server.url + "/later")
                try:
                    ctx.sleep(2000)
                finally:
                    ctx.http.after_stop().get(server.url + "/stopped")

            host = TestHost(grace=100)
            host.stop_after(3000)
            self.assertEqual(host.run(told, invocation("test")).status, "cancelled")
            self.assertEqual([path for _, path, _, _ in server.requests], ["/early", "/later", "/stopped"])


if __name__ == "__main__":
    unittest.main()
