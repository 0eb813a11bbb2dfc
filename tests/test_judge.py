"""The judge, against an endpoint on this machine that is slow, busy, broken and wrong in turn."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from score_folders import flags, make_set, save

from evaluation import asking, judge, score


class Fake(ThreadingHTTPServer):
    """Answers by a rule of its own; ``troubles`` are what happens before a question is answered, one at each try."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.troubles, self.asked, self.answered, self.keys = [], [], Counter(), set()
        self.rule = lambda count: "Yes." if count == 2 else "same"
        self.slow = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server, said = self.server, json.loads(body)
        server.asked.append(said)
        server.keys.add(self.headers.get("Authorization"))
        trouble = server.troubles.pop(0) if server.troubles else None
        if trouble == "slow":
            server.slow.wait(5)
        elif trouble == "drops":
            self.close_connection = True
        elif trouble == "no json":
            self.say(200, b"<html>gateway</html>")
        elif trouble == "no choices":
            self.say(200, b'{"choices": []}')
        elif trouble:
            self.say(trouble, b"{}", [("Retry-After", "7")] if trouble == 429 else [])
        else:
            server.answered[json.dumps(said["messages"])] += 1
            count = sum(part["type"] == "image_url" for part in said["messages"][0]["content"])
            answer = {"choices": [{"message": {"content": server.rule(count)}}],
                      "usage": {"prompt_tokens": 1000, "completion_tokens": 2}}  # fmt: skip
            self.say(200, json.dumps(answer).encode())

    def say(self, code: int, body: bytes, headers: list[tuple[str, str]] = ()) -> None:
        self.send_response(code)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    server, waits = Fake(), []
    monkeypatch.setattr(asking.time, "sleep", waits.append)
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    server.waits = waits
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.slow.set()
    server.shutdown()
    server.server_close()


def run(root: Path, fake: Fake, *more: str) -> int:
    results = [f"near={root / 'near'}", f"grey={root / 'grey'}"]
    where = ["--set", str(root / "set"), "--out", str(root / "judged"), "--results", *results]
    address = f"http://127.0.0.1:{fake.server_port}/v1"
    return judge.main(judge.parse_args([*where, "--endpoint", address, "--model", "m", "--yes", *more]))


def judged(root: Path) -> dict:
    return json.loads((root / "judged/judged.json").read_text())


def test_whatever_the_endpoint_does_every_question_is_answered_once(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 2)
    fake.troubles = ["slow", 429, None, 500, "no json", None, "drops", 503, "no choices"]
    assert run(root, fake, "--price", "2.5", "10") == 0
    # 2 pictures: 2 methods alone and one pair in both orders
    assert len(fake.answered) == 8 and set(fake.answered.values()) == {1} and len(fake.asked) == 8 + 7
    assert 7.0 in fake.waits and all(wait <= asking.LONGEST_WAIT for wait in fake.waits)
    found = judged(root)
    assert found["tokens"] == [8000, 16] and found["cost"] == pytest.approx((8000 * 2.5 + 16 * 10) / 1e6)
    assert found["success"]["near"]["mean"] == 1 and found["unanswered"] == found["unread"] == 0


def test_nothing_is_asked_twice(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 2)
    assert run(root, fake) == 0 and len(fake.asked) == 8
    assert run(root, fake) == 0 and len(fake.asked) == 8
    save(root / "grey/a/p1.png", np.zeros((32, 48, 3), np.uint8))  # one alone and a pair in both orders
    assert run(root, fake) == 0 and len(fake.asked) == 8 + 3
    with open(root / "judged/answers.jsonl", "a") as file:
        file.write('{"key": "half wri')  # as a killed run leaves it
    assert run(root, fake) == 0 and len(fake.asked) == 11


def test_a_stopped_run_loses_nothing(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch):
    root = make_set(tmp_path, 2)
    calm, left = asking.Endpoint.once, [3]

    def stopped(self, messages):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return calm(self, messages)

    monkeypatch.setattr(asking.Endpoint, "once", stopped)
    assert run(root, fake) == judge.INTERRUPTED and len(fake.asked) == 3
    monkeypatch.setattr(asking.Endpoint, "once", calm)
    assert run(root, fake) == 0 and set(fake.answered.values()) == {1} and judged(root)["unanswered"] == 0


def test_a_judge_that_prefers_a_place_gives_no_verdict_and_one_that_sees_does(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 3)
    fake.rule = lambda count: "A" if count == 3 else "no"
    assert run(root, fake) == 0
    found = judged(root)["pairs"]["near against grey"]
    assert (found["wins"], found["losses"], found["ties"], found["orders_disagree"]) == (0, 0, 3, 3)
    turn = iter(["A", "B"] * 3)  # the first order and the second one: always "near"
    fake.rule = lambda count: f"**{next(turn)}**, because" if count == 3 else "No, it is there."
    assert run(root, fake, "--out", str(root / "second")) == 0
    found = json.loads((root / "second/judged.json").read_text())
    assert found["pairs"]["near against grey"]["wins"] == 3 and found["success"]["grey"]["mean"] == 0


def test_the_report_shows_the_verdicts(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 1)
    run(root, fake)
    assert score.main(score.parse_args(flags(root, "--judged", str(root / "judged")))) == 0
    page = (root / "out/report.html").read_text()
    assert "Judged by m" in page and "<th>near against grey</th><td>0</td><td>0</td><td>1</td><td>0</td>" in page


def test_answers_that_say_neither_are_counted_and_not_guessed(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 1)
    fake.rule = lambda count: "I cannot help with that."
    assert run(root, fake) == 0
    found = judged(root)
    assert found["unread"] == 4 and found["success"]["near"]["n"] == 0 and found["pairs"]["near against grey"]["n"] == 0


def test_a_key_that_is_refused_stops_at_once_and_comes_from_the_environment(tmp_path, fake, monkeypatch, capsys):
    root = make_set(tmp_path, 2)
    monkeypatch.setenv(judge.KEY, "secret")
    fake.troubles = [401]
    assert run(root, fake) == 1 and len(fake.asked) == 1 and fake.keys == {"Bearer secret"}
    assert "401" in capsys.readouterr().err and "secret" not in (root / "judged/judged.json").read_text()
    fake.troubles = [500] * 3
    assert run(root, fake, "--tries", "3") == 1 and judged(root)["unanswered"] == 1
    assert "(3 tries)" in judged(root)["problems"][0]


def test_nothing_is_sent_without_a_yes_and_the_cost_is_said_first(tmp_path, fake, monkeypatch, capsys):
    root = make_set(tmp_path, 2)
    where = ["--set", str(root / "set"), "--out", str(root / "judged"), "--results", f"a={root / 'grey'}"]
    address = ["--endpoint", f"http://127.0.0.1:{fake.server_port}/v1", "--model", "m"]
    args = judge.parse_args([*where, *address, "--price", "1000", "0"])
    monkeypatch.setattr("builtins.input", lambda words: "n")
    assert judge.main(args) == 2 and fake.asked == []
    # 2 questions of two pictures of 800 tokens and the words
    assert "2 questions to m" in (said := capsys.readouterr().err) and "about 3.3" in said


def test_what_is_sent_is_the_tinted_picture_and_the_results_in_order(tmp_path: Path, fake: Fake):
    root = make_set(tmp_path, 1)
    run(root, fake)
    pair = [said["messages"][0]["content"] for said in fake.asked if len(said["messages"][0]["content"]) == 4]
    assert pair[0][1] == pair[1][1] and pair[0][2:] == pair[1][:1:-1] and pair[0][2] != pair[0][3]
