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
        ("http.request", {"url": "http://x", "follow_redirects": "${input.f}"}, []),
        ("http.request", {"url": "http://x", "follow_redirects": "{{f}}"}, []),
        ("http.request", {"url": "http://x", "metod": "GET"}, [("/metod", "is not known here", True)]),
        ("http.request", {"url": "http://x", "auth": {"tokn": "x"}}, [("/auth/tokn", "is not known here", True)]),
        ("http.request", {"url": "http://x", "expectedStatus": [200, "x"]}, [("/expectedStatus/1", "must be a whole number, not a text", True)]),
        ("webhook", {}, [("", "url is missing: Where to, `http://` or `https://`", True)]),
        ("store", {"operation": "gett"}, [("/operation", "must be one of get, set, delete, list, query, increment, append", True)]),
        ("store", {"operation": "list", "limit": 0}, [("/limit", "must be 1 or more", True)]),
        (
            "assert",
            {"assertions": [{"type": "equals", "expected": None}, {"expected": 1}]},
            [("/assertions/1", "type is missing: How `actual` is compared", True)],
        ),
        ("transform", {"script": "return 1", "any/thing": 1}, [("/any~1thing", "is not known here", True)]),
        ("condition", {"scrpt": "1", "script": "1"}, [("/scrpt", "is not known here", True)]),
        ("batch", {"script": "1", "max_parallel": 2, "workers": 2}, [("/workers", "is not known here", True)]),
        ("database", {"queryType": "SELECT", "op": "Select", "operation": "sELECT", "sql": "select 1"}, []),
        ("database", {"queryType": "selec"}, [("/queryType", "must be one of select, query, exec, execute, insert, update, delete, transaction, batch", True)]),
        (
            "http.request",
            {"url": "http://x", "assertions": [{"type": "equals", "expected": 1, "expcted": 200}]},
            [("/assertions/0/expcted", "is not known here", True)],
        ),
        (
            "http.request",
            {"url": "http://x", "assertions": [{"type": "status_code"}]},
            [("/assertions/0", "must have a status as 'expected', or a list of them as 'in'", True)],
        ),
        ("http.request", {"url": "http://x", "assertions": [{"type": "json_path", "path": "a", "in": [1], "equals": 1, "exists": True, "value": 1}]}, []),
        ("store", {"op": "get", "key": "k", "auto_save": True}, [("/auto_save", "has no effect", False)]),
        ("mcp", {"connectionType": "sse", "messagesPostEndpoint": "/m"}, [("/messagesPostEndpoint", "has no effect", False)]),
    ],
)
def test_parameters_are_checked(kind, params, expected):
    """Each finding names place and remedy; an expression may become anything; what older definitions have in vain is no error."""
    found = list(findings(BUILT_IN[kind].parameters, params))
    assert [(one.pointer, one.message, one.severe) for one in found] == expected
    assert all(one.hint for one in found)


@pytest.mark.parametrize(
    ("kind", "params", "pointer", "said"),
    [
        ("http.request", {"url": "ftp://h"}, "/url", "an address such as"), ("http.request", {"url": "http://"}, "/url", "an address"), ("http.request", {"url": "http://h:99999"}, "/url", "an address"),
        ("http.request", {"url": "http://h/a b"}, "/url", "without blanks"), ("http.request", {"url": "/items"}, "/url", "an address"), ("webhook", {"url": "h"}, "/url", "an address"),
        ("http.request", {"url": "http://[::1"}, "/url", "an address"), ("mcp", {"connectionType": "http", "url": "x"}, "/url", "an address"),
        ("http.request", {"url": "http://h", "method": "FETCH"}, "/method", "one of GET, POST"), ("http.request", {"url": "http://h", "expectedStatus": 99}, "/expectedStatus", "100 to 599"),
        ("http.request", {"url": "http://h", "expectedStatus": [200, 600]}, "/expectedStatus/1", "100 to 599"), ("http.request", {"url": "http://h", "timeout": "soon"}, "/timeout", "units such as"),
        ("http.request", {"url": "http://h", "timeout": 0}, "/timeout", "more than 0"), ("http.request", {"url": "http://h", "timeout": -1}, "/timeout", "units such as"),
        ("http.request", {"url": "http://h", "assertions": [{"type": "like"}]}, "/assertions/0/type", "one of status_code"), ("http.request", {"url": "http://h", "assertions": [{}]}, "/assertions/0", "type is missing"),
        ("cron", {"schedule": "* * *"}, "/schedule", "cannot be used"), ("cron", {"schedule": "0 0 30 2 *"}, "/schedule", "cannot be used"), ("cron", {"schedule": "* * * * *", "timezone": "Mars"}, "/timezone", "no time zone"),
        ("assert", {"assertions": [{"type": "regex", "expected": "("}]}, "/assertions/0", "RE2"), ("assert", {"assertions": [{"type": "type", "expected": "text"}]}, "/assertions/0", "one of string"),
        ("assert", {"assertions": [{"type": "arrayLength", "expected": -1}]}, "/assertions/0", "from 0 on"), ("assert", {"assertions": [{"type": "gte", "expected": None}]}, "/assertions/0", "a number or a text"),
        ("delay", {"duration": "5 minutes"}, "/duration", "units such as"), ("delay", {"duration": 5, "jitter": 2}, "/jitter", "1 or less"), ("wait", {"until_time": "tomorrow"}, "/until_time", "a moment"),
        ("wait", {"condition": "x", "max_attempts": 0}, "/max_attempts", "1 or more"), ("wait", {"condition": "x", "interval": -1}, "/interval", "units such as"),
        ("script", {"language": "python", "script": "print(1)"}, "", "function is missing"), ("batch", {"batch_size": 0}, "/batch_size", "1 or more"), ("worker_pool", {"workers": 0}, "/workers", "1 or more"), ("email.send", {"smtp_port": 70000}, "/smtp_port", "65535 or less"),
        ("store", {"operation": "list", "limit": 5000}, "/limit", "1000 or less"), ("store", {"operation": "set", "ttl": []}, "/ttl", "a text or a number"),
    ],
)  # fmt: skip
def test_constants_out_of_range_are_found(kind, params, pointer, said):
    """What no run could work with, before there is a run; each with a remedy."""
    found = [one for one in findings(BUILT_IN[kind].parameters, params) if one.severe]
    assert any(one.pointer == pointer and said in one.message and one.hint for one in found), found


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("http.request", {"url": "https://user.example:8080/a?b=%20#c", "method": "post", "timeout": "1m30s", "expectedStatus": [200, 404]}), ("http.request", {"url": "HTTP://h"}),
        ("http.request", {"url": "${input.url}", "timeout": "${input.t}", "method": "{{m}}", "expectedStatus": "{{s}}"}), ("http.request", {"url": "https://{{host}}/x y"}),
        ("cron", {"schedule": "@hourly", "timezone": "Europe/Berlin"}), ("cron", {"schedule": "0 */5 * * * *"}), ("cron", {"schedule": "${input.when}"}),
        ("assert", {"assertions": [{"type": "regex", "expected": "^a+$"}, {"type": "regex", "expected": "{{p}}"}, {"type": "arrayLength", "expected": "3"}, {"type": "exists"}]}),
        ("http.request", {"url": "http://h", "assertions": [{"type": "status_code", "in": [200]}, {"type": "json_path", "path": "$.a", "equals": 1}, {"type": "gte", "path": "n", "expected": 1}]}),
        ("wait", {"until_time": "2026-01-31T08:00:00+01:00"}), ("delay", {"duration": 0}), ("store", {"operation": "get", "key": "k", "limit": 1000}),
    ],
)  # fmt: skip
def test_sound_constants_are_not_found(kind, params):
    """Nor what an expression will give."""
    assert not list(findings(BUILT_IN[kind].parameters, params))
