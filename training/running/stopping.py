"""A signal that asks a run to stop: it finishes its step first."""

import os
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
        """Take note of a signal, and of no more: a scheduler and a launcher often both send the same one."""
        if threading.current_thread() is not threading.main_thread():  # where Python delivers none
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def note(number: int, _: object) -> None:
            if not self.signal:  # no print: the signal may have come in the middle of one
                os.write(2, f"\n{signal.Signals(number).name}: finishing the step and saving it\n".encode())
            self.signal = self.signal or number

        for number in SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_signals(_: int) -> None:
    """For a process that prepares pictures: a signal sent to the whole group is the training process's to answer."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
