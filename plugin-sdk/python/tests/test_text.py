"""Text that UTF-8 can't encode, and values that the host does not take: both end in the author's words."""

import contextlib
import io
import json
import sys
import unittest

from executor_runtime import ArtifactError, Failed, HttpError, Outcome, Rejected
from executor_runtime.testing import TestHost, invocation
from executor_runtime.text import encodable, without_query

#: As a server may send it.
HALF = json.loads('"a\\ud83d"')
ESCAPED = "a\\ud83d"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


class Unfinished(Failed):
    def __init__(self) -> None:
        pass


def end(function, host=None):
    return (host or TestHost()).run(lambda _, ctx: function(ctx), invocation("test"))


def raising(error):
    def function(_):
        raise error

    return function


def changed(outcome, **attributes):
    for name, value in attributes.items():
        setattr(outcome, name, value)
    return outcome


class Text(unittest.TestCase):
    def test_half_of_a_surrogate_pair_is_escaped_and_all_else_is_kept(self):
        self.assertEqual(encodable(HALF), ESCAPED)
        self.assertEqual(encodable("ä \U0001f600 \\"), "ä \U0001f600 \\")

    def test_what_a_run_reports_is_escaped(self):
        for function in [
            lambda _: {HALF: HALF},
            lambda _: Outcome({HALF: HALF}),
            lambda _: changed(Outcome(), receipt={HALF: HALF}),
        ]:
            self.assertEqual(end(function).receipt, {ESCAPED: ESCAPED})
        for error, kind, summary in [
            (Failed(HALF, HALF, receipt={"k": HALF}), ESCAPED, ESCAPED),
            (Rejected("k", HALF), "k", ESCAPED),
            (changed(Failed("k", "s"), kind=HALF, summary=HALF), ESCAPED, ESCAPED),
            (HttpError("network", HALF), "network", "http error: " + ESCAPED),
            (SystemExit(HALF), "exit", ESCAPED),
        ]:
            result = end(raising(error))
            self.assertEqual((result.kind, result.summary), (kind, summary))
        self.assertIn("ValueError: " + ESCAPED, end(raising(ValueError(HALF))).summary)

    def test_the_log_progress_and_names_are_escaped(self):
        host = TestHost(config={"k": "v"})

        def work(ctx):
            ctx.log(HALF)
            ctx.log("x", HALF)
            ctx.progress(1, HALF)
            ctx.progress(None, 3)
            self.assertIsNone(ctx.config(HALF))
            ctx.artifact("kept", HALF, HALF).finish()
            ctx.artifact(HALF, "file")

        result = end(work, host)
        self.assertIn(f"'{ESCAPED}' can't be the name", result.summary)
        self.assertEqual(host.logs, [("info", ESCAPED), ("info", "x")])
        self.assertEqual(host.progress_reports, [(1.0, ESCAPED), (None, "3")])
        self.assertEqual((host.artifacts["kept"].kind, host.artifacts["kept"].description), (ESCAPED, ESCAPED))
        host = TestHost()
        end(raising(ValueError(HALF)), host)
        self.assertIn("ValueError: " + ESCAPED, host.log_text())

    def test_what_is_printed_is_escaped(self):
        printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(printed):
            self.assertEqual(end(lambda _: print(HALF, end="")).status, "succeeded")
            self.assertEqual(sys.stdout.errors, "strict")
        printed.flush()
        self.assertEqual(printed.buffer.getvalue().decode(), ESCAPED)

    def test_a_url_is_shown_without_what_may_be_secret(self):
        for url, shown in [
            ("https://h:1/p?token=s#f", "https://h:1/p"),
            ("https://u:p@h/p#token=s", "https://h/p"),
            ("/p?x=//a@b", "/p"),
            (HALF, ESCAPED),
        ]:
            self.assertEqual(without_query(url), shown)


class Values(unittest.TestCase):
    def test_an_exception_that_can_not_be_shown_is_told_all_the_same(self):
        host = TestHost()
        result = end(raising(Unprintable()), host)
        self.assertEqual((result.status, result.kind), ("failed", "exception"))
        self.assertRegex(result.summary, r"^Unprintable: its __str__ raised ValueError \(test_text.py, line \d+, ")
        self.assertIn("raise error", host.log_text())
        self.assertEqual(end(raising(SystemExit(Unprintable()))).summary, "its __str__ raised ValueError")
        # A traceback that Python can't write.
        self.assertEqual(end(raising(SyntaxError("m", ("f", 1, "y", "t")))).kind, "exception")

    def test_what_the_host_does_not_take_is_refused_where_it_is_given(self):
        for make, words in [
            (lambda _: Outcome(exit_code="x"), "TypeError: exit_code is of type str: expected int"),
            (lambda _: Outcome(exit_code=1.5), "TypeError: exit_code is of type float"),
            (lambda _: Outcome(exit_code=2**63), "ValueError: exit_code has more than 64 bits"),
            (lambda _: Failed("k", "s", exit_code=-(2**63) - 1), "ValueError: exit_code has more"),
            (lambda _: Failed(3, 4), "TypeError: the kind of a failure is of type int: expected str"),
            (lambda _: Rejected("k", None), "TypeError: the summary of a failure is of type NoneType"),
            (lambda _: Failed("", "s"), "ValueError: the kind of a failure is empty"),
            (lambda _: Outcome({"a": None}), "TypeError: the receipt's value of 'a' is of type NoneType"),
            (lambda _: Outcome({1: "a"}), "TypeError: the receipt has the key 1"),
            (lambda _: Outcome([1]), "TypeError: the receipt is of type list: expected a dict"),
            (lambda _: Outcome([]), "TypeError: the receipt is of type list: expected a dict"),
            (lambda ctx: ctx.reopen_artifact("a", "file", -1), "ValueError: the length of an artifact is from 0"),
            (lambda ctx: ctx.reopen_artifact("a", "file", 2**64), "ValueError: the length of an artifact is from 0"),
            (lambda ctx: ctx.reopen_artifact("a", "file", "1"), "TypeError: the length is of type str: expected int"),
            (lambda ctx: ctx.artifact(3, "file"), "TypeError: the artifact's name is of type int"),
            (lambda ctx: ctx.artifact("a", 3), "TypeError: the artifact's kind is of type int"),
            (lambda ctx: ctx.config(3), "TypeError: the key is of type int"),
            (lambda ctx: ctx.progress("x"), "TypeError: the fraction is of type str"),
        ]:
            result = end(make)
            self.assertEqual((result.status, result.kind), ("failed", "exception"), words)
            self.assertTrue(result.summary.startswith(words), result.summary)
            self.assertIn("(test_text.py, line ", result.summary)

    def test_what_can_not_be_reported_is_an_invalid_return(self):
        for function, words in [
            (lambda _: {"a": []}, "the receipt's value of 'a' is of type list"),
            (lambda _: changed(Outcome(), receipt={"a": None}), "the receipt's value of 'a'"),
            (lambda _: changed(Outcome(), exit_code="x"), "exit_code is of type str"),
            (raising(changed(Failed("k", "s"), kind=3)), "the kind of a failure is of type int"),
            (raising(changed(Failed("k", "s"), exit_code=2**63)), "exit_code has more than 64 bits"),
            (raising(HttpError(3, "x")), "the kind of a failure is of type int"),
            (raising(Unfinished()), "Unfinished was raised without a kind and a summary"),
        ]:
            result = end(function)
            self.assertEqual((result.status, result.kind), ("failed", "invalid_return"), words)
            self.assertIn(words, result.summary)

    def test_exit_codes_have_64_bits(self):
        for code in (-(2**63), 2**31, 2**63 - 1):
            self.assertEqual(end(lambda _: Outcome(exit_code=code)).exit_code, code)
            self.assertEqual(end(raising(SystemExit(code))).exit_code, code)
        result = end(raising(SystemExit(99999999999999999999)))
        self.assertEqual((result.status, result.kind, result.exit_code), ("failed", "exit", 1))
        self.assertIn("more than 64 bits", result.summary)

    def test_a_length_that_the_host_takes_is_asked_of_it(self):
        with self.assertRaises(ArtifactError):
            raise end(lambda ctx: ctx.reopen_artifact("a", "file", 2**64 - 1)).exception


if __name__ == "__main__":
    unittest.main()
