"""What GitHub and others read of the repository: files of the right form, which agree."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from helpers.folders import ROOT

import fcn_keras

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    {*(GITHUB / "ISSUE_TEMPLATE").glob("*.yml")} - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
)
CI = (ROOT / ".ci" / "run").read_text("utf-8")
SETUP = (ROOT / "setup.py").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")

SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": FORMS,
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "dependabot": [GITHUB / "dependabot.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
}


def read(path):
    return yaml.safe_load(path.read_text("utf-8"))


def jobs():
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield f"{path.name}: {name}", job


def commands(file):
    """The lines that a workflow runs."""
    for job in read(GITHUB / "workflows" / file)["jobs"].values():
        for step in job.get("steps", ()):
            yield from step.get("run", "").splitlines()


@pytest.mark.skipif(not find_spec("check_jsonschema"), reason="needs check-jsonschema")
@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_have_the_form_that_is_read(schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    assert SCHEMAS[schema]
    done = subprocess.run([*command, *SCHEMAS[schema]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_jobs_end_and_may_do_little():
    for name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 360, name
        for step in job.get("steps", ()):
            assert ("uses" in step) != ("run" in step), name
            assert re.fullmatch(r"[\w./-]+@[\w./]+", step.get("uses", "a@v1")), name
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}, path
    [publish] = [job for name, job in jobs() if "permissions" in job]
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"]
    assert not any("secrets." in path.read_text("utf-8") for path in WORKFLOWS)


def test_commands_are_those_of_the_documents():
    documented = {*re.findall(r"^python3 -m venv .*", README, re.MULTILINE), *CI.splitlines()}
    installed = dict(re.findall(r"^install (\.venv\S*) (\S+)", CI, re.MULTILINE))
    known = documented | {
        f'{python} install -e ".[{extras}]"'
        for extras in re.findall(r"^install \.venv (\S+)", CI, re.MULTILINE)
        for python in (".venv/bin/pip", "python -m pip")
    }
    assert installed and README.count(".[test]") == 1
    for line in (*commands("tests.yml"), *commands("full.yml")):
        tests = re.fullmatch(r"(?:\.venv/bin/)?python -m pytest ([-n \d\"m]*)(tests/.*)", line)
        if tests:
            paths = tests[2].split()
            assert all((ROOT / path).is_file() for path in paths), line
        else:
            assert line in known or line == ".ci/run", line


def test_commands_are_those_of_the_package():
    from fcn_keras.cli.app import parse

    called = [line.split()[1:] for line in commands("package.yml") if "bin/fcn-keras" in line]
    assert [parse(words).command.run.__module__ for words in called] == [
        "fcn_keras.cli.bench_cost",
        "fcn_keras.cli.train",
    ]


def test_versions_of_python_agree():
    low, high = map(int, re.search(r'python_requires=">=3\.(\d+),<3\.(\d+)"', SETUP).groups())
    supported = [f"3.{minor}" for minor in range(low, high)]
    matrix = read(GITHUB / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == supported
    assert f"Python {supported[0]} to {supported[-1]}" in README
    others = {
        step["with"]["python-version"]
        for _, job in jobs()
        for step in job.get("steps", ())
        if "setup-python" in step.get("uses", "")
    }
    assert others - {"${{ matrix.python }}"} <= {*supported}


def test_versions_of_the_linter_agree():
    [pinned] = re.findall(r'"ruff==([\d.]+)"', SETUP)
    [repository] = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["rev"] == f"v{pinned}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_versions_of_the_package_agree():
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == fcn_keras.__version__ and citation["title"] == "fcn_keras"
    assert f"## {fcn_keras.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    assert re.search(r'license="([^"]+)"', SETUP)[1] == citation["license"]
    # The paper is that of the README, which BibTeX has.
    [paper] = citation["references"]
    assert f"title={{{paper['title']}}}" in README and f"year={{{paper['year']}}}" in README
    authors = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    assert f"author={{{authors}}}" in README


def test_forms_name_what_is_there():
    for path in FORMS:
        fields = [field for field in read(path)["body"] if field["type"] != "markdown"]
        ids = [field["id"] for field in fields]
        assert len({*ids}) == len(ids) > 0
    assert "SECURITY.md" in Path(GITHUB / "ISSUE_TEMPLATE" / "fault.yml").read_text("utf-8")
    assert (ROOT / "SECURITY.md").is_file()
