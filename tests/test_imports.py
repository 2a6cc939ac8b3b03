"""Who may import whom: packages from the lowest floor up, imports within functions counted too."""

import ast
from pathlib import Path

import fcn_keras

PACKAGE = Path(fcn_keras.__file__).parent

# None imports another of its line; each may import from the lines before.
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
# What imports less than all that lies below it.
ONLY = {"models": {"errors"}, "data": {"system", "errors"}, "client": {"errors"}}
# What runs on every backend of Keras, and so imports no library that is as large.
ANY_BACKEND = (
    "models",
    "evaluation.metrics",
    "training.losses",
    "training.optimizers",
    "training.caffe_sgd",
    "training.rate_factors",
)
LARGE = {"tensorflow", "tensorflow_datasets", "torch", "jax", "scipy", "matplotlib", "PIL"}
# Packages whose `__init__` is a door; all others hold a sentence alone.
DOORS = {"cli", "client", "recipes"}
# (file, what it imports): why it may.
EXCEPTIONS = {
    ("__main__", "cli.__init__"): "is the command line by another name",
    ("models.weights.torch_file", "torch"): "reads PyTorch's own files",
}

FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(name):
    """What a file imports, wherever it does: pairs of a module, and a name in it or nothing."""
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def targets_of(name):
    """The files of the package that a file imports, and the libraries."""
    for module, imported in imports_of(name):
        inside = f"{module}.{imported}".removeprefix("fcn_keras.").rstrip(".")
        candidates = (inside, f"{inside}.__init__", inside.rpartition(".")[0])
        candidates += (f"{candidates[-1]}.__init__",)
        if module.startswith("fcn_keras"):
            yield next((file for file in candidates if file in FILES), "__init__")
        else:
            yield module.partition(".")[0]


def test_imports_descend():
    wrong = []
    for name in FILES:
        package = name.partition(".")[0]
        for target in targets_of(name):
            other = target.partition(".")[0]
            if target not in FILES or other == package or (name, target) in EXCEPTIONS:
                continue
            # The package's own `__init__` and what it registers with Keras import nothing else.
            below = FLOOR.get(other, -1) < FLOOR.get(package, len(FLOORS))
            if not below or other not in ONLY.get(package, {other}):
                wrong.append(f"{name} imports {target}")
    assert wrong == []


def test_no_large_library_beside_keras():
    wrong = [
        f"{name} imports {target}"
        for name in FILES
        if name.startswith(ANY_BACKEND)
        for target in LARGE & {*targets_of(name)}
        if (name, target) not in EXCEPTIONS
    ]
    assert wrong == []


def test_no_private_name_crosses_a_file():
    wrong = []
    for name, tree in FILES.items():
        ours = [pair for pair in imports_of(name) if pair[0].startswith("fcn_keras")]
        for module, imported in ours:
            if any(part.startswith("_") for part in f"{module}.{imported}".split(".")):
                wrong.append(f"{name} imports {module}.{imported}")
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("fcn_keras")
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in imported and node.attr.startswith("_"):
                    wrong.append(f"{name} uses {node.value.id}.{node.attr}")
    assert wrong == []


def test_no_circle():
    done = set()

    def visit(name, above):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name in FILES and name not in done:
            for target in targets_of(name):
                visit(target, [*above, name])
            done.add(name)

    # The public names are imported when they are used: `__init__` shows them to editors alone.
    for name in FILES.keys() - {"__init__"}:
        visit(name, ["__init__"] if name == "registration" else [])


def test_a_package_begins_with_a_sentence():
    for name, tree in FILES.items():
        if name.endswith(".__init__"):
            docstring, *rest = tree.body
            assert isinstance(docstring.value.value, str), name
            assert not rest or name.removesuffix(".__init__") in DOORS, name


def test_files_and_functions_are_short():
    long = []
    for name, tree in FILES.items():
        lines = (PACKAGE / name.replace(".", "/")).with_suffix(".py").read_text("utf-8").count("\n")
        if lines > 300:
            long.append(f"{name}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                told = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
                if node.end_lineno - node.lineno + 1 - told > 60:
                    long.append(f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines")
    assert long == []
