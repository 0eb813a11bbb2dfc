"""Asking an endpoint that speaks the OpenAI chat protocol, patiently, and keeping its answers."""

import json
import random
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

SECONDS, LONGEST_WAIT = 120, 60  # of an answer, of a pause
REFUSED = (401, 402, 403)  # the key, the bill
AGAIN = (408, 409, 429, 500, 502, 503, 504)  # what may be otherwise a little later


class Unanswered(Exception):
    """A question without an answer.  ``hopeless`` where the next question would fare no better."""

    def __init__(self, why: str, hopeless: bool = False):
        super().__init__(why)
        self.hopeless = hopeless


class Endpoint:
    """A chat endpoint.  What is slow, busy or broken is asked again, each time after twice as long a wait, or after
    the one that it asks for."""

    def __init__(self, address: str, model: str, key: str | None, tries: int):
        self.address, self.model, self.key, self.tries = address.rstrip("/"), model, key, tries
        self.answered = False

    def ask(self, messages: list[dict]) -> tuple[str, int, int]:
        """The answer's text, and the tokens in and out that the endpoint counts.  Raises Unanswered."""
        why, wait = "it was not asked", 0.0
        for attempt in range(self.tries):
            time.sleep(wait)
            wait = min(LONGEST_WAIT, 2**attempt) * random.uniform(0.75, 1.25)
            try:
                return self.once(messages)
            except urllib.error.HTTPError as err:
                why = f"{self.address} says {err.code} {err.reason}"
                if err.code not in AGAIN:
                    raise Unanswered(why, err.code in REFUSED or not self.answered) from err
                wait = asked_for(err.headers.get("Retry-After"), wait)
            except (OSError, HTTPException) as err:  # URLError and a time-out are among the former
                why = f"{self.address} cannot be reached: {err}"
            except (ValueError, KeyError, IndexError, TypeError) as err:
                why = f"{self.address} answered what is no chat completion: {err!r}"
        raise Unanswered(f"{why} ({self.tries} tries)")

    def once(self, messages: list[dict]) -> tuple[str, int, int]:
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 16}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.address}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            said = json.loads(response.read())
        usage = said.get("usage") or {}
        text = said["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError("its content is no text")
        self.answered = True
        return text, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))


def asked_for(header: str | None, wait: float) -> float:
    """The seconds of a Retry-After header; a date in it is not read."""
    return min(LONGEST_WAIT, float(header)) if header and header.isdigit() else wait


class Answers:
    """Answers by the content of their question, in a file as soon as they are there; a half-written last line is
    dropped, because a killed run asked without hearing."""

    def __init__(self, path: Path):
        self.path, self.found = path, {}
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for line in lines:
            said = json.loads(line)
            self.found[said.pop("key")] = said
        if path.exists():
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def keep(self, key: str, text: str, tokens_in: int, tokens_out: int) -> None:
        self.found[key] = {"text": text, "in": tokens_in, "out": tokens_out}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key} | self.found[key]) + "\n")

    def tokens(self) -> tuple[int, int]:
        return sum(one["in"] for one in self.found.values()), sum(one["out"] for one in self.found.values())
