"""Processes to measure in, which are real ones here."""

import pytest

from fcn_keras.bench.child import ChildFailed, answering_child, run_child
from fcn_keras.system.processor import ONEDNN

ECHO = """
import json, sys
for line in sys.stdin:
    number = json.loads(line)
    print(json.dumps({"twice": 2 * number}), flush=True)
    if number == 3:
        raise SystemExit("no more numbers\\n)")
"""


def test_the_last_line_is_returned():
    program = "import sys; print('noise'); print(sys.stdin.read())"
    assert run_child(["-c", program], "word") == "word"
    assert run_child(["-c", ""]) == ""


def test_failures_are_one_line():
    with pytest.raises(ChildFailed, match="^ended with 3$"):
        run_child(["-c", "raise SystemExit(3)"])
    with pytest.raises(ChildFailed, match="^ValueError: no kernel$"):
        run_child(["-c", "raise ValueError('no kernel')"])
    killed = "killed by signal 9, as the system does where memory has run out"
    with pytest.raises(ChildFailed, match=f"^{killed}$"):
        run_child(["-c", "import os; os.kill(os.getpid(), 9)"])


def test_it_answers_until_it_fails():
    with answering_child(["-c", ECHO]) as ask:
        assert ask(1) == {"twice": 2}
        assert ask(3) == {"twice": 6}
        for _ in range(2):  # when it is gone, too
            with pytest.raises(ChildFailed, match="^no more numbers$"):
                ask(1)


def test_environment(monkeypatch, tmp_path):
    """The package is found from anywhere, and TensorFlow computes as it is told."""
    monkeypatch.setenv(ONEDNN, "1")
    monkeypatch.chdir(tmp_path)
    program = f"import os, fcn_keras; print(os.environ.get('{ONEDNN}'), os.environ.get('HERE'))"
    assert run_child(["-c", program], HERE="yes") == "1 yes"
    assert run_child(["-c", program], onednn=False) == "None None"
