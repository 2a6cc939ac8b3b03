"""Who may import whom: packages from the lowest floor up, function-level imports counted too."""

import ast
from pathlib import Path

import pytest

import fcn_keras

PACKAGE = Path(fcn_keras.__file__).parent

# Of one line, none imports another; each may import from the lines before.
FLOORS = (
    ("errors",),
    ("models", "system", "client"),
    ("data", "cpu"),
    ("evaluation", "figures"),
    ("inference",),
    ("training", "exporters"),
    ("serving", "demo", "recipes"),
    ("bench",),
    ("cli",),
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
# Those that may import less than what lies below them.
ONLY = {"models": {"errors"}, "data": {"system", "errors"}, "client": {"errors"}}
# What runs on every backend of Keras, and so imports no library that is as large.
ANY_BACKEND = (
    "models",
    "evaluation.metrics",
    "training.losses",
    "training.optimizers",
    "training.caffe_sgd",
)
LARGE = {"tensorflow", "tensorflow_datasets", "torch", "jax", "scipy", "matplotlib", "PIL"}
# `__init__` files that are a door; all others hold a sentence alone.
DOORS = {"cli", "client", "recipes"}
# (file, what it imports): why it may.
EXCEPTIONS = {
    (
        "models.weights.torch_file",
        "torch",
    ): "reads PyTorch's own files",
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree):
    """Every name that a file imports, wherever it does: `(module, name)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


FILES = dict(modules())


def targets_of(name):
    """The files of the package that a file imports."""
    for module, imported in imports_of(FILES[name]):
        for whole in (f"{module}.{imported}", module):
            inside = whole.removeprefix("fcn_keras.")
            found = next((f for f in (inside, f"{inside}.__init__") if f in FILES), None)
            if whole.startswith("fcn_keras.") and found:
                yield found
                break


@pytest.mark.parametrize("name", FILES)
def test_imports_descend(name):
    package = name.partition(".")[0]
    if package in ("__init__", "__main__", "registration"):
        return
    for target in targets_of(name):
        other = target.partition(".")[0]
        if other == package or (name, target) in EXCEPTIONS:
            continue
        assert FLOOR[other] < FLOOR[package], f"{name} imports {target}"
        assert other in ONLY.get(package, {other}), f"{name} imports {target}"


@pytest.mark.parametrize("name", FILES)
def test_no_large_library_beside_keras(name):
    if name.startswith(ANY_BACKEND):
        found = {module.partition(".")[0] for module, _ in imports_of(FILES[name])}
        assert {f for f in found & LARGE if (name, f) not in EXCEPTIONS} == set()


@pytest.mark.parametrize("name", FILES)
def test_no_private_name_crosses_a_file(name):
    crossing = [
        f"{module}.{imported}"
        for module, imported in imports_of(FILES[name])
        if module.startswith("fcn_keras")
        and any(part.startswith("_") for part in (*module.split("."), imported))
    ]
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(FILES[name])
        if isinstance(node, ast.ImportFrom) and node.module.startswith("fcn_keras")
        for alias in node.names
    }
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in aliases and node.attr.startswith("_"):
                crossing.append(f"{node.value.id}.{node.attr}")
    assert crossing == []


def test_no_circle():
    done = set()

    def visit(name, above):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for target in targets_of(name):
                visit(target, [*above, name])
            done.add(name)

    for name in FILES:
        visit(name, [])


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".__init__")])
def test_a_package_is_a_sentence(name):
    docstring, *rest = FILES[name].body
    assert isinstance(docstring.value.value, str)
    assert not rest or name.removesuffix(".__init__") in DOORS
