"""Tells Keras the classes that saved networks may name, as soon as Keras is there.

`keras.models.load_model` looks them up by name alone. Importing this package must not import Keras,
so it waits for that.
"""

import sys
from importlib import import_module

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


class _AfterKeras:
    """Finds Keras as it would be found without it, and registers when it has run.

    It may be asked several times before: TensorFlow looks where Keras lies without importing it.
    """

    looking = False

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" or self.looking:
            return None
        from importlib.util import find_spec  # which takes its time to import

        self.looking = True
        spec = find_spec(fullname)
        self.looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = execute_and_register
        return spec
