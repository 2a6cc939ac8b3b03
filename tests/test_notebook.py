"""The notebook: its form, what its outputs hold, and all of it, run without network."""

import json
import os
import re
import sys
from importlib.util import find_spec

import pytest
from helpers.folders import ROOT

PATH = ROOT / "notebooks" / "paper.ipynb"
NOTEBOOK = json.loads(PATH.read_text("utf-8"))
CODE = {cell["id"]: cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"}
OUTPUTS = [output for cell in CODE.values() for output in cell["outputs"]]


def facts_of(outputs):
    """What the last cell prints."""
    [output] = outputs
    return json.loads("".join(output["text"]))


def check_facts(facts):
    assert facts["field of fc6"] == 404
    assert facts["crops of FCN-8s"] == [5, 9, 31]
    assert facts["classifier accuracy"] > 0.85
    scores = facts["mean IU"]
    assert scores["fcn8s"] > 0.72
    assert scores["fcn32s"] < scores["fcn16s"] < scores["fcn8s"]


def test_format():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len({*ids}) == len(ids)
    assert all(re.fullmatch(r"[\w-]{1,64}", name) for name in ids)
    assert PATH.stat().st_size < 1.5e6
    if find_spec("nbformat"):
        import nbformat

        nbformat.validate(nbformat.read(PATH, 4))


@pytest.mark.parametrize("name", CODE)
def test_code_compiles(name):
    compile("".join(CODE[name]["source"]), f"cell {name}", "exec")


def test_outputs_are_those_of_one_run_without_faults():
    assert [cell["execution_count"] for cell in CODE.values()] == [*range(1, len(CODE) + 1)]
    kinds = {output["output_type"] for output in OUTPUTS}
    assert kinds == {"stream", "display_data"}
    for output in OUTPUTS:
        if output["output_type"] == "stream":
            assert output["name"] == "stdout"
            text = "".join(output["text"])
            # Home and temporary folders, warnings, logs, progress bars.
            assert not re.search(r"/(home|root|Users|tmp|var)/|[Ww]arning|INFO|it/s|\r|\x1b", text)
    pictures = [output for output in OUTPUTS if "image/png" in output.get("data", {})]
    assert len(pictures) >= 10
    check_facts(facts_of([*CODE.values()][-1]["outputs"]))


@pytest.mark.slow
def test_all_cells_run_without_network(tmp_path, monkeypatch):
    """As in a clone: in the notebook's folder, with no weights, and proxies that do not answer."""
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(PATH, 4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(PATH.parent)}},
    )
    client.execute()
    check_facts(facts_of(notebook.cells[-1].outputs))
    assert not (tmp_path / "keras").exists() and not (tmp_path / "data").exists()
