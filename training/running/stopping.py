"""A signal that asks a run to stop: it finishes its step first."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from training.running.endings import RunEnded

SIGNALLED = 128  # plus the signal's number: what a shell exits with, and a supervisor starts again
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Asked:
    """Which signal asked this process to stop; 0: none yet."""

    def __init__(self) -> None:
        self.signal = 0

    def ended(self, step: int) -> RunEnded:
        """The end of a run that was asked to stop and has saved this step."""
        number = self.signal or signal.SIGTERM  # another process may have been the one that was asked
        name = signal.Signals(number).name
        return RunEnded(f"{name}: saved at step {step}; the same command goes on from there.", SIGNALLED + number)

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
