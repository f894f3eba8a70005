"""An agent without a model, to prove `cargo xtask conformance`: it knows the task's words and HTTP, and of Accredit what it reads.

It reads `/` (which leads to the manual for agents), `/llms.txt`, `GET /api?for=me`, and the `fix` and `fields` of refusals. As the agent
that does its tasks it has no path of the API: calls are found by what the manual says that agents do, fields are those of its lines.

    agent.py            does the task
    agent.py --lazy     does nothing
    agent.py --wrong    does something else
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["ACCREDIT_URL"]


class Refused(Exception):
    """A refusal, with what it says."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body if isinstance(body, dict) else {}


class Server:
    """The server, as far as it says what it is."""

    def __init__(self, token):
        self.token = token
        self.root = self.text("/")
        # The first page names the manual for agents.
        self.manual = self.text(re.search(r"\]\((/[a-z-]*\.txt)\)", self.root).group(1))

    def send(self, method, path, body=None):
        headers = {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        request = urllib.request.Request(URL + path, data, headers, method=method)
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as error:
                text = error.read().decode()
                if error.code in (429, 503) and error.headers["Retry-After"]:
                    time.sleep(min(int(error.headers["Retry-After"]), 5))
                    continue
                try:
                    text = json.loads(text)
                except ValueError:
                    pass
                raise Refused(error.code, text) from None
        raise SystemExit("the server stays busy")

    def text(self, path):
        return self.send("GET", path)

    def json(self, method, path, body=None):
        text = self.send(method, path, body)
        return json.loads(text) if text else None

    def line(self, does):
        """The line of the manual about what agents do."""
        return next(line for line in self.manual.splitlines() if does in line)

    def call(self, does, name="me"):
        """Method and path of what agents do, in the manual's words."""
        method, path = re.search(r"`([A-Z]+) ([^`?\s]+)[^`]*`", self.line(does)).groups()
        return method, re.sub(r"\{name\}", urllib.parse.quote(name), path)

    def do(self, does, body=None, query="", name="me"):
        method, path = self.call(does, name)
        return self.json(method, path + query, body)

    def mine(self):
        """The routes that this agent can use now."""
        return self.do("What may I use", query="?for=me")["routes"]

    def tell(self, title, body, **more):
        return self.do("Tell my owner", {"title": title, "body": body, **more})


def choices(refused):
    """The values that a refusal names."""
    words = re.search(r"one of: ([^.]*)", refused.body.get("fix", ""))
    return [word.strip() for word in words.group(1).split(",")] if words else []


def corrected(body, refused):
    """A body, corrected by what a refusal says."""
    body = dict(body)
    fields = refused.body.get("fields", [])
    unknown = [field["field"] for field in fields if "unknown" in field["problem"]]
    missing = [field["field"] for field in fields if "missing" in field["problem"]]
    for old, new in zip(unknown, missing):
        body[new] = body.pop(old)
    named = re.search(r"Send (\w+) as one of", refused.body.get("fix", ""))
    if named:
        body[named.group(1)] = closest(body[named.group(1)], choices(refused))
    return body


def closest(word, words):
    """Of the words of the server the one that is meant: what is urgent is the highest one."""
    order = ["low", "normal", "medium", "high", "urgent", "critical"]
    known = [one for one in order if one in words]
    return word if word in words else known[-1] if order.index(word) > order.index(known[-1]) else known[0]


def persist(server, method, path, body):
    """Sends a request; corrects it as often as it is refused for what is in it."""
    for _ in range(5):
        try:
            return server.json(method, path, body)
        except Refused as refused:
            better = corrected(body, refused)
            if better == body:
                raise
            body = better
    raise SystemExit("it stays refused")


def who_am_i(server, task):
    me = server.do("Who am I")
    server.tell(me["agent_name"], " ".join(sorted(me["scope"])))


def tell_a_person(server, task):
    title, body = re.findall(r'"([^"]*)"', task)
    try:
        # Which priorities there are, a refusal says.
        server.tell(title, body, priority="?")
    except Refused as refused:
        server.tell(title, body, priority=closest("critical", choices(refused)))


def write_progress(server, task):
    texts = re.findall(r'"([^"]*)"', task)
    levels = re.findall(r"level (\w+)", task)
    lines = [{"level": level, "text": text} for level, text in zip(levels, texts)]
    server.do("Write to my own log", {"lines": lines})


def ask_for_a_right(server, task):
    name = re.search(r"Its name is ([\w-]+)\.", task).group(1)
    does, body = "Register an agent below me", {"name": name}
    try:
        return server.do(does, body)
    except Refused as refused:
        # The fix has the request that asks.
        ask = re.search(r"(POST) (\S+) (\{.*?\})", refused.body["fix"])
    method, path, wanted = ask.groups()
    wanted = json.loads(wanted)
    wanted["reason"] = "To register the helper of my task."
    server.json(method, path, wanted)
    after = ""
    for _ in range(20):
        events = server.do("Wait for events", query=f"?wait=20{after}")
        kinds = [event["type"] for event in events["items"]]
        if "access_denied" in kinds:
            raise SystemExit("denied")
        if "scope_granted" in kinds:
            return server.do(does, body)
        after = f"&after={events['cursor']}" if events["cursor"] else ""
    raise SystemExit("nobody decides")


def correct_a_request(server, task):
    method, path = re.search(r"^ +([A-Z]+) (/\S+)$", task, re.M).groups()
    body = json.loads(re.search(r"^ +(\{.*\})$", task, re.M).group(1))
    persist(server, method, path, body)


def rotate_own_token(server, task):
    new = server.do("Replace my own token", {})
    server.token = new["token"]
    server.tell("Rotated", new["id"])


def read_a_secret(server, task):
    secrets = server.do("Read my secrets")["secrets"]
    server.tell("CRM_KEY", secrets["CRM_KEY"][-4:])


def answer_a_message(server, task):
    events = server.do("Wait for events")
    for event in events["items"]:
        if event["type"] == "message":
            name, text = re.search(r"agent (\S+) a message with this text: (.*)$", event["data"]["text"]).groups()
            server.do("Send a message to another agent", {"text": text}, name=name)
    server.do("Acknowledge events", {"upto": events["cursor"]})


def stop_when_told(server, task):
    while True:
        if server.do("Say that I am alive", {})["state"] != "running":
            return
        time.sleep(1)


def enrol(server, task):
    code = re.search(r"enrol with: (\S+)", task).group(1)
    method, path, body = re.search(r"`(POST) (\S+)\s+(\{[^`]*\})`[^.]*gives you the token", server.manual).groups()
    server.token = server.json(method, path, {key: code for key in json.loads(body)})["token"]
    server.do("Say that I am alive", {})


TASKS = [
    ("what you are called", who_am_i),
    ("import has finished", tell_a_person),
    ("your own log", write_progress),
    ("Register a helper", ask_for_a_right),
    ("A colleague has tried", correct_a_request),
    ("Replace your own token", rotate_own_token),
    ("CRM_KEY", read_a_secret),
    ("A message waits", answer_a_message),
    ("until the server tells you to stop", stop_when_told),
    ("one-time code", enrol),
]


def wrong(server, task):
    """Does something that nobody asked for."""
    if server.token:
        server.tell("Done", "All is done.")
    else:
        enrol_only(server, task)


def enrol_only(server, task):
    code = re.search(r"enrol with: (\S+)", task).group(1)
    return server.json("POST", "/api/agents/enroll", {"code": code})


def main():
    task = sys.stdin.read()
    if "--lazy" in sys.argv:
        return
    server = Server(os.environ.get("ACCREDIT_TOKEN"))
    if "--wrong" in sys.argv:
        return wrong(server, task)
    if server.token:
        # As every agent should: what can I do here?
        server.mine()
    next(does for words, does in TASKS if words in task)(server, task)


main()
