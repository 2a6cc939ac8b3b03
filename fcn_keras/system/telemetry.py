"""OpenVINO without its telemetry.

That tells OpenVINO's makers what it is used for, by a process that it forks at each call. Where
other threads run, as TensorFlow's do, such a process may hang, and with it the program at its end.
"""

import sys


def keep_openvino_quiet():
    """Has OpenVINO do without telemetry. To be called before it is imported."""
    # An import of it fails, and OpenVINO has a stub for that case.
    sys.modules.setdefault("openvino_telemetry", None)
