"""Tells Keras the classes that saved networks may name, as soon as Keras is there.

`keras.models.load_model` looks them up by name alone. Importing this package must not import Keras,
so it waits for that.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder

# Importing one of these registers its classes.
MODULES = ("evaluation.metrics", "models.bilinear", "training.caffe_sgd", "training.losses.sums")


def register_with_keras():
    """Registers the classes, now or when Keras is imported."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register():
    for module in MODULES:
        import_module(f"fcn_keras.{module}")
    if sys.modules["keras"].backend.backend() == "tensorflow":
        import_module("fcn_keras.training.adam")


def _spec_of(fullname, path):
    if fullname != "keras":
        return PathFinder.find_spec(fullname, path)
    from importlib.util import find_spec  # which takes its time to import

    return find_spec(fullname)


class _AfterKeras:
    """Registers when Keras has been imported, and no module of this package is half imported.

    What is registered needs other modules of this package, and one of these may be what imports
    Keras: then it is to be whole first.
    """

    def __init__(self):
        self.looking = self.has_run = False
        self.within = 0  # modules of this package that are being imported

    def find_spec(self, fullname, path=None, target=None):
        # It may be asked for Keras several times before: TensorFlow looks where it lies without
        # importing it.
        if self.looking or not (fullname == "keras" or fullname.startswith("fcn_keras.")):
            return None
        self.looking = True
        try:
            spec = _spec_of(fullname, path)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                ours = fullname != "keras"
                self.within += ours
                try:
                    execute(module)
                finally:
                    self.within -= ours
                self.has_run |= not ours
                if self.has_run and not self.within and self in sys.meta_path:
                    sys.meta_path.remove(self)
                    _register()

            spec.loader.exec_module = execute_and_register
        return spec
