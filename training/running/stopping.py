"""A signal that asks a run to stop: it finishes its step first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Asked:
    """Which signal asked this process to stop; 0: none yet."""

    def __init__(self) -> None:
        self.signal = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of the first signal; the second one does what it would have done without us."""
        if threading.current_thread() is not threading.main_thread():  # where Python delivers none
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def note(number: int, _: object) -> None:
            self.signal = number
            restore()

        for number in SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            restore()


def ignore_signals(_: int) -> None:
    """For a process that prepares pictures: a signal sent to the whole group is the training process's to answer."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
