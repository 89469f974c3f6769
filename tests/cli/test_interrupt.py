"""Ctrl-C ends a command with one sentence."""

import os
import signal
import subprocess
import sys
import time

import pytest

# a command with a thread; the signal comes after its line "begun"
PROGRAM = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
from chemsbi_jax.cli.run import run
def main(flags):
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("begun", flush=True)
    time.sleep(60)
run(main, None)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupted_command_ends_at_once_with_a_sentence():
    """Python alone would wait for the thread, and print a traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)  # half of the sleep
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.startswith("Interrupted: ")
    assert "Traceback" not in err
