import pytest

from flowrunner.kinds import BUILT_IN
from flowrunner.kinds.check import findings
from flowrunner.kinds.durations import read_milliseconds, read_seconds


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("100ms", 0.1), ("1h30m", 5400), ("30", 30), ("1.5", 1.5), (2, 2), (0.25, 0.25), ("2d", 172_800), ("500us", 0.0005), ("10ns", 1e-8), (" 5s ", 5), (0, 0)],
)
def test_durations(given, seconds):
    """Numbers are seconds; texts have units."""
    assert read_seconds(given) == pytest.approx(seconds)


@pytest.mark.parametrize("given", [-1, "soon", "5 s", "5x", "", None, True, [], "1e3", float("nan"), float("inf"), 1e12, "9" * 200, "s", "1s2"])
def test_what_is_no_duration(given):
    """Is refused with what it must be."""
    with pytest.raises(ValueError, match="500ms"):
        read_seconds(given)


def test_milliseconds_are_whole():
    """Rounded up, so that a wait is never shorter; without noise of binary fractions. A number may be in another unit."""
    assert [read_milliseconds(given) for given in ("100ms", "0.1", 1.1, "1us", 0)] == [100, 100, 1100, 1, 0]
    assert read_milliseconds(500, unit="ms") == 500
    assert read_milliseconds("2s", unit="ms") == 2000


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("http.request", {"url": "http://x", "method": "GET"}, []),
        ("http.request", {}, [("", "url is missing, or path: Where to, `http://` or `https://`", True)]),
        ("http.request", {"path": "/x"}, []),
        (
            "script",
            {"args": [1]},
            [
                (
                    "",
                    "script is missing, or function: The body of a function, or an expression. It sees `input`, `results`, `shared`, `secrets`, `execution` and `console`",
                    True,
                )
            ],
        ),
        ("condition", {"script": "1"}, []),
        (
            "command",
            {"args": []},
            [("", "command is missing, or cmd: The program, by the name or the absolute path under which the operator has allowed it", True)],
        ),
        ("http.request", {"url": 7}, [("/url", "must be a text, not a whole number", True)]),
        ("http.request", {"url": "x", "follow_redirects": "${input.f}"}, []),
        ("http.request", {"url": "x", "follow_redirects": "{{f}}"}, []),
        ("http.request", {"url": "x", "metod": "GET"}, [("/metod", "is not known here; did you mean method?", False)]),
        ("http.request", {"url": "x", "auth": {"tokn": "x"}}, [("/auth/tokn", "is not known here; did you mean token?", False)]),
        ("http.request", {"url": "x", "expectedStatus": [200, "x"]}, [("/expectedStatus/1", "must be a whole number, not a text", True)]),
        ("webhook", {}, [("", "url is missing: Where to, `http://` or `https://`", True)]),
        ("store", {"operation": "gett"}, [("/operation", "must be one of get, set, delete, list, query, increment, append; did you mean get?", True)]),
        ("store", {"operation": "list", "limit": 0}, [("/limit", "must be 1 or more", True)]),
        ("assert", {"assertions": [{"type": "equals"}, {"expected": 1}]}, [("/assertions/1", "type is missing: How `actual` is compared", True)]),
        ("transform", {"script": "return 1", "anything": {"a/b": 1}}, []),
    ],
)
def test_parameters_are_checked(kind, params, expected):
    """Each finding names place and remedy; an expression may become anything; what is not known is no error."""
    assert [(one.pointer, one.message, one.severe) for one in findings(BUILT_IN[kind].parameters, params)] == expected
