"""The streaming guide in its order, by the programs it names, against ``serve --dev``: curl, wscat (by npm), a browser (Chromium), Python's websockets."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
SECONDS = 60
BODY = json.dumps({"userId": 1, "id": 1, "title": "a title"}).encode()
GUIDE = json.loads((ROOT / "examples" / "two_step_workflow.json").read_text())


class Posts(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_): ...


@pytest.fixture(scope="module")
def posts():
    """An HTTP server to fetch from."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Posts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/posts/1"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of ``flowrunner serve --dev``."""
    folder = tmp_path_factory.mktemp("guide")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNNER_", "AWS_"))}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "flowrunner", "serve", "--dev", "--port", "0"], cwd=folder, env=kept, stdout=log, stderr=log)
    try:
        while "Ctrl-C stops it" not in (said := (folder / "log").read_text()):
            assert process.poll() is None, said
        yield re.search(r"listens on http://(\S+)", said)[1]
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def wscat():
    """The real wscat; kept beside what else is made here."""
    if (found := shutil.which("wscat")) is not None:
        return found
    folder = ROOT / ".flowrunner" / "wscat"
    made = folder / "node_modules" / ".bin" / "wscat"
    if not made.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("wscat is not here, nor npm to install it: apt-get install npm, then npm install --global wscat")
        done = subprocess.run(
            [npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, "wscat@6"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"wscat cannot be installed: npm install --global wscat says {done.stderr.strip()[-200:]}")
    return str(made)


def curl(*words, given=None):
    """What curl prints, read as JSON, behind its status."""
    body = [] if given is None else ["-H", "Content-Type: application/json", "-d", json.dumps(given)]
    done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", *words, *body], capture_output=True, text=True, timeout=SECONDS, check=True)
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text)


@pytest.fixture(scope="module")
def run(server, posts):
    """The run of the guide's workflow: created and executed with curl."""
    url = f"http://{server}/api/v2/workflows"
    wanted = {
        "workflowId": "test-websocket-workflow",
        "name": "Test WebSocket Workflow",
        "version": "1.0.0",
        "description": "Two steps",
        "isTestCase": False,
        "createdBy": "me",
    }
    status, made = curl("-X", "POST", url, given={**wanted, "definition": GUIDE})
    assert (status, made["workflowId"]) == (201, "test-websocket-workflow")
    status, started = curl("-X", "POST", f"{url}/test-websocket-workflow/execute", given={"variables": {"apiUrl": posts}})
    assert (status, started["status"]) == (202, "running")
    return started["runId"]


def checked(messages, run):
    """The sequence of the guide: both steps, their log, the variables; extra kinds stand between."""
    assert {message["runId"] for message in messages} == {run}
    told = [(message["type"], message["payload"]) for message in messages if message["type"] in ("step_start", "step_complete", "step_log", "variable_change")]
    kinds = [kind for kind, _ in told]
    assert kinds == [
        "step_start", "step_log", "step_complete", "variable_change", "variable_change", "step_start", "step_log", "step_complete",
    ]  # fmt: skip
    assert told[0][1] == {"stepId": "step1", "stepName": "Fetch User Data"}
    log = told[1][1]
    assert (log["stepId"], log["level"], log["message"]) == ("step1", "info", "Starting step: Fetch User Data")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log["timestamp"])
    done = told[2][1]
    assert isinstance(done.pop("duration"), int)
    assert done == {"stepId": "step1", "stepName": "Fetch User Data", "status": "success"}
    changes = [payload for kind, payload in told if kind == "variable_change"]
    assert changes == [
        {"stepId": "step1", "varName": "userId", "oldValue": None, "newValue": 1, "changeType": "create"},
        {"stepId": "step1", "varName": "title", "oldValue": None, "newValue": "a title", "changeType": "create"},
    ]
    seqs = [message["seq"] for message in messages if "seq" in message]
    assert seqs == sorted(set(seqs))


@pytest.mark.timeout(120)
def test_wscat(server, run, wscat):
    """Wscat prints one message a line, and leaves when the run is over."""
    words = [wscat, "-c", f"ws://{server}/api/v2/workflows/runs/{run}/stream", "--no-color"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = process.stdout.read()  # its end: the server has closed, and wscat has left
        process.wait(SECONDS)
    messages = [json.loads(found) for found in re.findall(r"\{.*\}", said)]
    checked(messages, run)
    assert messages[-1]["type"] == "end"


def test_python(server, run):
    """The Python client of the guide."""
    with connect(f"ws://{server}/api/v2/workflows/runs/{run}/stream") as socket:
        checked([json.loads(text) for text in socket], run)


IN_THE_BROWSER = """
new Promise((resolve) => {
  const messages = [];
  const ws = new WebSocket('ws://%s/api/v2/workflows/runs/%s/stream');
  ws.onmessage = (event) => messages.push(JSON.parse(event.data));
  ws.onerror = () => messages.push({type: 'error'});
  ws.onclose = (event) => resolve([messages, event.code]);
})
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Chromium without a window; where its first page can be told what to do."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not here: apt-get install chromium")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", "about:blank"]
    folder = tmp_path_factory.mktemp("chromium")
    with subprocess.Popen([program, *words, f"--user-data-dir={folder}"], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            said = ""
            while (found := re.search(r"DevTools listening on ws://(\S+?)/", said)) is None:
                line = process.stderr.readline()
                assert line, said
                said += line
            with urllib.request.urlopen(f"http://{found[1]}/json/list", timeout=SECONDS) as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as page:
                yield page
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def browse(page, url, script):
    """What this JavaScript gives in a page of this address."""

    def ask(number, method, **parameters):
        page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (told := json.loads(page.recv(SECONDS))).get("id") != number:
            pass
        return told["result"]

    ask(1, "Page.enable")
    page.send(json.dumps({"id": 2, "method": "Page.navigate", "params": {"url": url}}))
    while json.loads(page.recv(SECONDS)).get("method") != "Page.loadEventFired":
        pass
    return ask(3, "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"]["value"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("place", ["the server's own page", "a page that is developed", "a page of somebody else"])
def test_browser(server, posts, run, chromium, place):
    """The browser's client of the guide, in a page of the server, and in one of another server on this machine; none but these."""
    pages = {"the server's own page": f"http://{server}/docs", "a page that is developed": posts, "a page of somebody else": "data:text/html,elsewhere"}
    messages, code = browse(chromium, pages[place], IN_THE_BROWSER % (server, run))
    if place == "a page of somebody else":
        assert (messages, code) == ([{"type": "error"}], 1006)
        return
    checked(messages, run)
    assert (messages[-1]["type"], code) == ("end", 1000)


def test_what_the_steps_did(server, run):
    """Step 2 printed the value that step 1 had found."""
    runs = f"http://{server}/api/v2/workflows/runs/{run}"
    status, found = curl(runs)
    assert (status, found["status"]) == (200, "success")
    _, steps = curl(f"{runs}/steps")
    assert [(step["stepId"], step["status"]) for step in steps] == [("step1", "success"), ("step2", "success")]
    assert steps[1]["outputData"]["stdout"] == "Processing user 1\n"
    _, logs = curl(f"{runs}/logs?stepId=step1&level=info")
    assert [entry["message"] for entry in logs] == ["Starting step: Fetch User Data"]
