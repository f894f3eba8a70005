#!/usr/bin/env python3
"""A runtime for agents, to copy: it runs what Accredit deploys, and obeys what is decided there.

    ACCREDIT_URL=https://accredit.example ACCREDIT_TOKEN=acr_agt_... runtime.py [--every SECONDS] COMMAND [ARGUMENT...]

The token is that of the agent above, with the scope agents.deploy. For each deployment below it, COMMAND is started with the agent's
token in ACCREDIT_TOKEN, its name in ACCREDIT_AGENT, and its secrets by their names. It needs Python 3.8 or newer and nothing else.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

URL = os.environ["ACCREDIT_URL"].rstrip("/")
ending = threading.Event()


class Refused(Exception):
    """A refusal: its status, its slug, and how to fix it."""

    def __init__(self, status, envelope):
        self.status, self.slug = status, envelope.get("error", "")
        super().__init__(f"{status} {self.slug}: {envelope.get('detail', '')} {envelope.get('fix', '')}")


def call(method, path, token=None, body=None):
    """One request. A server that is not reached, or has an outage, is asked again until it answers."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    while True:
        request = urllib.request.Request(URL + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer) if answer.status != 204 else None
        except urllib.error.HTTPError as error:
            if error.code != 429 and error.code < 500:
                try:
                    envelope = json.load(error)
                except ValueError:
                    envelope = {}
                raise Refused(error.code, envelope) from None
            print(f"{method} {path}: {error.code}, and again soon", flush=True)
        except OSError as error:
            print(f"{method} {path}: {error}, and again soon", flush=True)
        time.sleep(5)


def events(token, after, wait):
    """The events behind `after`: at once if there are any, else as soon as one comes or the time is over."""
    query = f"wait={wait}" + (f"&after={after}" if after else "")
    return call("GET", f"/api/agents/me/inbox?{query}", token)


class Agent:
    """A deployed agent: one process, and one thread that keeps it as Accredit says."""

    def __init__(self, command, every, code):
        self.command, self.every, self.code = command, every, code
        self.process = self.after = None
        self.turn = threading.Lock()  # so that nothing starts while the runtime ends

    def run(self):
        try:
            got = call("POST", "/api/agents/enroll", body={"code": self.code})
        except Refused as refusal:  # it comes late: the code is used or older than 15 minutes, or its maker lost the right
            print(f"not enrolled: {refusal}", flush=True)
            return
        self.token, self.name = got["token"], got["agent"]["name"]
        ours = {"ACCREDIT_URL": URL, "ACCREDIT_TOKEN": self.token, "ACCREDIT_AGENT": self.name}
        others = {name: value for name, value in os.environ.items() if not name.startswith("ACCREDIT_")}
        self.environment = {**others, **(got["secrets"] or {}), **ours}
        print(f"{self.name}: enrolled", flush=True)
        try:
            self.keep(got["agent"]["state"])
        except Refused as refusal:  # its token has ended: the agent was archived, or is deployed elsewhere
            print(f"{self.name}: ended: {refusal}", flush=True)
        finally:
            self.stop()
            self.environment = None

    def keep(self, state):
        """Beats as long as the token lives, and between two beats waits for what is decided."""
        while (page := events(self.token, self.after, 0))["items"]:  # what came before this process is no news to it
            self.after = page["cursor"]
        while self.become(state):
            beat = call("POST", "/api/agents/me/heartbeat", self.token, {})
            if beat["state"] == state:
                self.wait(state)
            state = beat["state"]

    def wait(self, state):
        page = events(self.token, self.after, self.every)
        self.after = page["cursor"]
        if any(event["type"] == "agent.restart" for event in page["items"]):
            self.stop()
        if page["items"] and state == "running":
            try:
                call("POST", "/api/agents/me/inbox/ack", self.token, {"upto": self.after})
            except Refused as refusal:
                if refusal.status != 403:  # halted in this moment: it may read, and acknowledges later
                    raise

    def become(self, state):
        """Makes the process what the state says. False: it cannot run, and Accredit knows why."""
        if state == "stopped":
            self.stop()
        else:
            try:
                with self.turn:
                    self.go_on(state)
            except OSError as error:
                print(f"{self.name}: {error}", flush=True)
                reason = {"reason": f"The command does not start: {error.strerror}"}
                call("POST", "/api/agents/me/deploy-status", self.token, reason)
                return False
        return True

    def go_on(self, state):
        if self.is_alive():
            os.killpg(self.process.pid, signal.SIGSTOP if state == "paused" else signal.SIGCONT)
        elif state == "running" and not ending.is_set():
            self.process = subprocess.Popen(self.command, env=self.environment, start_new_session=True)
            print(f"{self.name}: process {self.process.pid}", flush=True)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        with self.turn:
            process, self.process = self.process, None
        if process is not None and process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGCONT):
                os.killpg(process.pid, number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def end(agents):
    """Ends every process with this runtime: no stop could reach one that goes on alone."""
    ending.set()
    stops = [threading.Thread(target=agent.stop) for agent in agents]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--every", type=int, default=20, help="seconds between two heartbeats, 1 to 25")
    arguments.add_argument("command", nargs=argparse.REMAINDER)
    arguments = arguments.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    token, after, agents = os.environ["ACCREDIT_TOKEN"], None, {}
    try:
        while True:
            page = events(token, after, 25)
            after = page["cursor"]
            for event in page["items"]:
                code = event["data"].get("code") if event["type"] == "agent.deploy" else None
                if code and code not in agents:  # an event can come twice
                    agents[code] = Agent(arguments.command, arguments.every, code)
                    threading.Thread(target=agents[code].run, daemon=True).start()
            if page["items"]:
                call("POST", "/api/agents/me/inbox/ack", token, {"upto": after})
    finally:
        end(agents.values())


if __name__ == "__main__":
    main()
