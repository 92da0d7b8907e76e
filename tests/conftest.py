"""Lets tests run the same however they were started."""

import signal


def pytest_configure() -> None:
    """Keep what tests start from ignoring signals.

    A shell that is no terminal's starts what it puts into the background with interrupts ignored,
    and nohup with hang-ups; processes pass that on. What they do not pass on is a function, so one
    that does nothing stands for it here.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
