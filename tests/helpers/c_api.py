"""Runs a SavedModel through TensorFlow's C API, as TensorFlow Serving does: without the package.

    python c_api.py MODEL < requests > answers

Both are pickles. Requests are a list of pairs: the name of a signature, and its inputs by name;
answers are a list of outputs by name, or the message if the call failed, and how much memory the
process had at most, in MB. A tensor is an array, or a list of bytes if it holds strings.
"""

import pickle
import re
import subprocess
import sys
from pathlib import Path

from fcn_keras.inference.c_library.library import Model, library_path  # noqa: F401
from fcn_keras.system.protobuf import entries, field, fields  # noqa: F401


def call(model, requests, timeout=60):
    """Returns the answers, and the memory, of a process that loads the model by this file."""
    command = [sys.executable, __file__, str(model)]
    done = subprocess.run(
        command, input=pickle.dumps(requests), capture_output=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def answer(model, request):
    try:
        return model.run(*request)
    except RuntimeError as error:
        return str(error)


if __name__ == "__main__":
    model = Model(sys.argv[1])
    answers = [answer(model, request) for request in pickle.load(sys.stdin.buffer)]
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules
    # Not by `getrusage`, which begins with what the program had that started this one.
    memory = int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    pickle.dump((answers, memory), sys.stdout.buffer)
