"""What becomes of what a runner returns or raises, and what TestHost plays."""

import sys
import threading
import time
import unittest

from executor_runtime import ArtifactError, Failed, HttpError, Invocation, Outcome, Rejected, Stopped, runner
from executor_runtime.run import marked
from executor_runtime.sandbox import how_to_get
from executor_runtime.testing import TestHost, invocation


def end(function, host=None):
    return (host or TestHost()).run(lambda _, ctx: function(ctx), invocation("test"))


def raising(error):
    def function(_):
        raise error

    return function


class Endings(unittest.TestCase):
    def test_each_return_is_what_was_meant(self):
        for returned, status, receipt, kind in [
            (None, "succeeded", {}, None),
            ({"a": 1, "b": True, "c": 0.5}, "succeeded", {"a": "1", "b": "true", "c": "0.5"}, None),
            (Outcome({"a": "x"}, exit_code=4), "succeeded", {"a": "x"}, None),
            (Failed("k", "s", receipt={"a": 1}), "failed", {"a": "1"}, "k"),
            (Rejected("k", "s"), "rejected", {}, "k"),
            (ValueError("v"), "failed", {}, "exception"),
            ("text", "failed", {}, "invalid_return"),
            ([1], "failed", {}, "invalid_return"),
            ({"a": []}, "failed", {}, "invalid_return"),
        ]:
            result = end(lambda _: returned)
            self.assertEqual((result.status, result.receipt, result.kind), (status, receipt, kind), returned)
        self.assertEqual(end(lambda _: Outcome(exit_code=4)).exit_code, 4)
        self.assertIn("returned a list: expected", end(lambda _: []).summary)

    def test_each_exception_is_what_was_meant(self):
        for raised, status, kind, summary, code in [
            (Failed("k", "s", exit_code=3), "failed", "k", "s", 3),
            (Rejected("k", "s"), "rejected", "k", "s", None),
            (ArtifactError("s"), "failed", "artifact", "s", None),
            (SystemExit(), "succeeded", None, None, 0),
            (SystemExit(0), "succeeded", None, None, 0),
            (SystemExit(3), "failed", "exit", "the plugin called sys.exit(3)", 3),
            (SystemExit("no way"), "failed", "exit", "no way", 1),
            (HttpError("network", "s"), "failed", "network", "http error: s", None),
            (HttpError("timeout", "s"), "failed", "network", "http error: s", None),
            (HttpError("invalid_request", "s"), "rejected", "invalid_request", "http error: s", None),
            (Stopped("x", timed_out=True), "timed_out", "timeout", "timed out in x", None),
            (Stopped("x", timed_out=False), "cancelled", "cancelled", "cancelled in x", None),
        ]:
            result = end(raising(raised))
            found = (result.status, result.kind, result.summary, result.exit_code)
            self.assertEqual(found, (status, kind, summary, code))

    def test_an_exception_is_one_line_and_its_traceback_is_in_the_log(self):
        host = TestHost()
        result = end(raising(ValueError("two\nlines")), host)
        self.assertRegex(result.summary, r"^ValueError: two lines \(test_run.py, line \d+, in function\)$")
        ((level, text),) = host.logs
        self.assertEqual(level, "error")
        self.assertTrue(text.startswith("Traceback (most recent call last):"), text)
        self.assertIn("raise error", text)

    def test_a_function_that_is_no_runner_is_told_when_it_is_marked(self):
        async def asynchronous(invocation, ctx):
            pass

        def generator(invocation, ctx):
            yield

        def short(invocation):
            pass

        for function, words in [(asynchronous, "is async"), (generator, "yield"), (short, "two arguments")]:
            with self.assertRaisesRegex(TypeError, words):
                runner(function)

        def right(invocation, ctx):
            return None

        self.assertIs(runner(right), right)
        self.assertIs(marked.pop(), right)

    def test_metadata_is_read_by_its_type(self):
        asked = Invocation("k", {"i": "3", "n": "1.5", "b": "true", "l": "a, b,,c", "j": "[1]", "bad": "x", "inf": "inf"})
        self.assertEqual(
            (asked.integer("i"), asked.number("n"), asked.boolean("b"), asked.list("l"), asked.json("j")),
            (3, 1.5, True, ["a", "b", "c"], [1]),
        )
        self.assertEqual((asked.integer("x", 7), asked.text("x"), asked.list("x"), asked.json("x")), (7, None, [], None))
        for read in [asked.integer, asked.number, asked.boolean, asked.json]:
            with self.assertRaisesRegex(Rejected, "metadata key 'bad' is 'x': expected"):
                read("bad")
        for read, key in [(asked.number, "inf"), (asked.required, "x")]:
            with self.assertRaises(Rejected):
                read(key)


class Hosts(unittest.TestCase):
    def test_pauses_take_no_time_and_end_at_the_stop(self):
        begun = time.monotonic()
        host = TestHost()
        self.assertEqual(end(lambda ctx: ctx.sleep(3600), host).status, "succeeded")
        self.assertEqual(host.slept, 3600)
        host.stop_after(60)
        self.assertEqual(end(lambda ctx: ctx.sleep(3600), host).status, "cancelled")
        host = TestHost(timeout=60)
        result = end(lambda ctx: time.sleep(3600), host)
        self.assertEqual((result.status, result.summary), ("timed_out", "timed out in a pause"))
        self.assertLess(time.monotonic() - begun, 30)

    def test_a_loop_that_computes_sees_the_stop(self):
        host = TestHost()
        threading.Timer(0.05, host.stop).start()

        def loop(ctx):
            while not ctx.stop_requested:
                pass
            ctx.check_stop()

        self.assertEqual(end(loop, host).status, "cancelled")

    def test_no_except_exception_swallows_the_stop(self):
        def stubborn(ctx):
            for _ in range(3):
                try:
                    ctx.sleep(1)
                except Exception:
                    pass

        host = TestHost()
        host.stop()
        self.assertEqual(end(stubborn, host).status, "cancelled")

    def test_what_the_host_offers_is_there(self):
        host = TestHost(config={"key": "value"}, input=b"one\ntwo\n", timeout=60)

        def look(ctx):
            ctx.log("seen", "warn")
            ctx.progress(0.5, "half")
            lines = list(ctx.open_input())
            left = 59 < ctx.remaining <= 60 and abs(ctx.deadline - ctx.now - ctx.remaining) < 1
            return {"config": ctx.config("key"), "none": ctx.config("no", "-"), "lines": len(lines), "left": left}

        self.assertEqual(end(look, host).receipt, {"config": "value", "none": "-", "lines": "2", "left": "true"})
        self.assertEqual((host.logs, host.progress_reports), ([("warn", "seen")], [(0.5, "half")]))
        self.assertIsNone(end(lambda ctx: ctx.open_input()).kind)

    def test_artifacts_are_kept_once_they_are_finished(self):
        host = TestHost()

        def write(ctx):
            with ctx.artifact("kept", "file", "what") as kept:
                kept.write("ä")
            ctx.artifact("open", "file").write(b"x")
            with self.assertRaises(ValueError), ctx.artifact("broken", "file"):
                raise ValueError
            for name in ["kept", "../x", ".hidden", ""]:
                with self.assertRaises(ArtifactError):
                    ctx.artifact(name, "file")

        self.assertEqual(end(write, host).status, "succeeded")
        self.assertEqual(list(host.artifacts), ["kept"])
        self.assertEqual((host.artifacts["kept"].data, host.artifacts["kept"].kind), ("ä".encode(), "file"))

    def test_a_run_goes_on_after_its_host_died(self):
        def count(_, ctx):
            done = int(ctx.resumed or b"0")
            file = ctx.reopen_artifact("numbers", "file", done) if done else ctx.artifact("numbers", "file")
            with file:
                for number in range(done, 4):
                    file.write(str(number))
                    ctx.checkpoint(str(number + 1))
            return {"from": done}

        asked = invocation("test")
        following = TestHost().run_until_death(2, count, asked)
        self.assertEqual(following.run(count, asked).receipt, {"from": "2"})
        self.assertEqual(following.artifacts["numbers"].data, b"0123")
        with self.assertRaises(AssertionError):
            TestHost().run_until_death(9, count, asked)
        with self.assertRaises(ArtifactError) as raised:
            raise end(lambda ctx: ctx.reopen_artifact("numbers", "file", 1)).exception
        self.assertTrue(raised.exception.not_resumable)
        self.assertIn("more than 65536", end(lambda ctx: ctx.checkpoint(b"x" * 65537)).summary)


class Building(unittest.TestCase):
    def test_a_module_that_is_missing_is_told_where_to_get(self):
        self.assertIn("install 'requests' into the plugin's environment", how_to_get("requests.sessions"))
        self.assertIn("do without it", how_to_get("multiprocessing.pool"))


if __name__ == "__main__":
    unittest.main()
