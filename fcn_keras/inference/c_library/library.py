"""SavedModels and graphs through TensorFlow's C API, as servers in C++ run them: without Python's.

A process that runs a network by this file has what such a server has: the same time, and the same
memory. A model is held until the process ends.
"""

import ctypes
import importlib.util
import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.processor import use_onednn
from fcn_keras.system.protobuf import entries, field

DTYPES = {
    number: np.dtype(name)
    for number, name in {1: "float32", 3: "int32", 4: "uint8", 17: "uint16"}.items()
}

NUMBERS = {dtype: number for number, dtype in DTYPES.items()}

STRING, STRING_SIZE = 7, 24  # TF_STRING; sizeof(TF_TString)

RESOURCE_EXHAUSTED = 8  # TF_Code

# By name: the tensors' names by input, and by output.
Signatures = dict[str, list[dict[str, str]]]


class Pointer(ctypes.c_void_p):
    """A C pointer that stays one as a result; ctypes turns its own into int, and cuts that."""


class Buffer(ctypes.Structure):
    _fields_ = [("data", Pointer), ("length", ctypes.c_size_t), ("deallocator", Pointer)]


class Output(ctypes.Structure):
    _fields_ = [("operation", Pointer), ("index", ctypes.c_int)]


# What the library must have: its functions, and what they return.
RESULTS: dict[str, Any] = {
    "TF_NewStatus": Pointer,
    "TF_NewGraph": Pointer,
    "TF_NewSessionOptions": Pointer,
    "TF_NewSession": Pointer,
    "TF_NewImportGraphDefOptions": Pointer,
    "TF_LoadSessionFromSavedModel": Pointer,
    "TF_GraphOperationByName": Pointer,
    "TF_AllocateTensor": Pointer,
    "TF_TensorData": Pointer,
    "TF_StringGetDataPointer": Pointer,
    "TF_NewBuffer": ctypes.POINTER(Buffer),
    "TF_NewBufferFromString": ctypes.POINTER(Buffer),
    "TF_Message": ctypes.c_char_p,
    "TF_Dim": ctypes.c_int64,
    "TF_StringGetSize": ctypes.c_size_t,
    "TF_GetCode": ctypes.c_int,
    "TF_NumDims": ctypes.c_int,
    "TF_TensorType": ctypes.c_int,
    "TF_SessionRun": None,
    "TF_GraphImportGraphDef": None,
    "TF_StringInit": None,
    "TF_StringCopy": None,
    "TF_StringDealloc": None,
    "TF_DeleteTensor": None,
    "TF_DeleteStatus": None,
    "TF_DeleteBuffer": None,
    "TF_DeleteSessionOptions": None,
    "TF_DeleteImportGraphDefOptions": None,
}


def library_path() -> Path:
    """Returns where the wheel keeps the C library: TensorFlow is looked up, but not imported."""
    name = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
    package = importlib.util.find_spec("tensorflow")
    return Path(package.origin if package and package.origin else "absent").with_name(name)


def open_library() -> ctypes.CDLL:
    """Opens the C library, and tells what its functions return.

    Raises:
        OSError: if there is none, or it cannot be opened; says why.
    """
    use_onednn()
    path = str(library_path())
    with suppress(AttributeError, OSError, TypeError):  # Windows has no `dlopen`
        # By itself ctypes has all symbols looked up at once, which takes a fifth longer.
        ctypes.CDLL(None).dlopen(os.fsencode(path), os.RTLD_LAZY)
    tf = ctypes.CDLL(path)  # finds it open, or says why it cannot be
    try:
        for name, result in RESULTS.items():
            getattr(tf, name).restype = result
    except AttributeError as error:  # as of a library of another kind
        raise OSError(str(error)) from error
    return tf


class Session:
    """A graph in a session of TensorFlow's.

    Args:
        tf: what `open_library` returned, if it has been called.

    Attributes:
        signatures: each the tensors' names by input and output.

    Raises:
        RuntimeError: with TensorFlow's message, if it cannot be opened, or when it runs.
        MemoryError: with TensorFlow's message, if it takes more memory than there is.
    """

    session: Pointer
    signatures: Signatures

    def __init__(self, tf: ctypes.CDLL | None = None):
        self.tf = tf or open_library()
        self.graph = self.tf.TF_NewGraph()
        self._held: dict[str, Pointer] = {}

    def hold(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Returns an array to fill with an input's value for all runs, which are not given it."""
        size = dtype.itemsize * math.prod(shape)
        self._held[name] = self._allocate(NUMBERS[dtype], shape, size)
        address = self.tf.TF_TensorData(self._held[name]).value
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        return array.view(dtype).reshape(shape)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the outputs of a signature by name: arrays, or lists of bytes for strings."""
        feeds, fetches = self.signatures[signature]
        given = {}
        results = (Pointer * len(fetches))()
        try:
            for name in feeds.keys() - self._held.keys():
                given[name] = self._tensor(inputs[name])
            values = [(given | self._held)[name] for name in feeds]
            self._checked(
                self.tf.TF_SessionRun,
                self.session,
                None,
                self._places(feeds),
                (Pointer * len(values))(*values),
                len(values),
                self._places(fetches),
                results,
                len(fetches),
                None,
                0,
                None,
            )
            return {name: self._value(value) for name, value in zip(fetches, results, strict=True)}
        finally:
            for tensor in given.values():
                if self.tf.TF_TensorType(tensor) == STRING:
                    for string in self._strings(tensor, self.tf.TF_Dim(tensor, 0)):
                        self.tf.TF_StringDealloc(string)
                self.tf.TF_DeleteTensor(tensor)
            # Strings of a result may be the graph's own: TensorFlow knows when to delete them.
            for tensor in filter(None, results):
                self.tf.TF_DeleteTensor(tensor)

    def _checked(self, function, *args):
        status = self.tf.TF_NewStatus()
        try:
            result = function(*args, status)
            code = self.tf.TF_GetCode(status)
            if code != 0:
                kind = MemoryError if code == RESOURCE_EXHAUSTED else RuntimeError
                raise kind(self.tf.TF_Message(status).decode(errors="replace"))
            return result
        finally:
            self.tf.TF_DeleteStatus(status)

    def _places(self, tensors):
        """Turns names such as "segment_image:0" into places in the graph."""
        names = [name.split(":") for name in tensors.values()]
        return (Output * len(names))(
            *(
                (self.tf.TF_GraphOperationByName(self.graph, operation.encode()), int(index))
                for operation, index in names
            )
        )

    def _tensor(self, value):
        if isinstance(value, list):
            tensor = self._allocate(STRING, (len(value),), STRING_SIZE * len(value))
            for string, text in zip(self._strings(tensor, len(value)), value, strict=True):
                self.tf.TF_StringInit(string)
                self.tf.TF_StringCopy(string, text, ctypes.c_size_t(len(text)))
            return tensor
        value = np.ascontiguousarray(value)
        tensor = self._allocate(NUMBERS[value.dtype], value.shape, value.nbytes)
        ctypes.memmove(self.tf.TF_TensorData(tensor), value.ctypes.data, value.nbytes)
        return tensor

    def _value(self, tensor):
        shape = [self.tf.TF_Dim(tensor, axis) for axis in range(self.tf.TF_NumDims(tensor))]
        number = self.tf.TF_TensorType(tensor)
        if number == STRING:
            return [
                _bytes_at(self.tf.TF_StringGetDataPointer(string), self.tf.TF_StringGetSize(string))
                for string in self._strings(tensor, *shape)
            ]
        dtype = DTYPES[number]
        data = _bytes_at(self.tf.TF_TensorData(tensor), dtype.itemsize * math.prod(shape))
        return np.frombuffer(data, dtype).reshape(shape)

    def _allocate(self, number, shape, size):
        tensor = self.tf.TF_AllocateTensor(
            number, (ctypes.c_int64 * len(shape))(*shape), len(shape), ctypes.c_size_t(size)
        )
        if not tensor:
            raise MemoryError(f"for a tensor of {size} bytes")
        return tensor

    def _strings(self, tensor, count):
        """Pointers to the strings that lie one after the other in a tensor."""
        start = self.tf.TF_TensorData(tensor).value
        return [Pointer(start + STRING_SIZE * i) for i in range(count)]


def _bytes_at(pointer, size):
    """`ctypes.string_at`, for more than 2 GiB too."""
    if not size:
        return b""
    return bytes((ctypes.c_char * size).from_address(pointer.value))


class Model(Session):
    """A SavedModel in a session.

    Args:
        path: the SavedModel's folder.
        tf: see `Session`.
    """

    def __init__(self, path: str | Path, tf: ctypes.CDLL | None = None):
        super().__init__(tf)
        buffer, options = self.tf.TF_NewBuffer(), self.tf.TF_NewSessionOptions()
        try:
            self.session = self._checked(
                self.tf.TF_LoadSessionFromSavedModel,
                options,
                None,
                os.fsencode(plain_path(path)),
                (ctypes.c_char_p * 1)(b"serve"),
                1,
                self.graph,
                buffer,
            )
            meta_graph = _bytes_at(buffer.contents.data, buffer.contents.length)
        finally:
            self.tf.TF_DeleteSessionOptions(options)
            self.tf.TF_DeleteBuffer(buffer)
        # The numbers are those of meta_graph.proto: signature_def, and of it inputs and outputs.
        self.signatures = {
            name: [
                {key: field(info, 1).decode() for key, info in entries(definition, number)}
                for number in (1, 2)
            ]
            for name, definition in entries(meta_graph, 5)
        }


class Graph(Session):
    """A graph without variables in a session.

    Args:
        graph_def: the serialised `GraphDef`.
        signatures: see `Session`; what they do not name cannot be run.
    """

    def __init__(self, graph_def: bytes, signatures: Signatures):
        super().__init__()
        self.signatures = signatures
        buffer = self.tf.TF_NewBufferFromString(graph_def, ctypes.c_size_t(len(graph_def)))
        importing = self.tf.TF_NewImportGraphDefOptions()
        options = self.tf.TF_NewSessionOptions()
        try:
            self._checked(self.tf.TF_GraphImportGraphDef, self.graph, buffer, importing)
            self.session = self._checked(self.tf.TF_NewSession, self.graph, options)
        finally:
            self.tf.TF_DeleteSessionOptions(options)
            self.tf.TF_DeleteImportGraphDefOptions(importing)
            self.tf.TF_DeleteBuffer(buffer)
