"""The programs that are compared, by name; `fcn_keras.bench.peers.loaders` loads them."""

from typing import NamedTuple

from fcn_keras.models.backbones import VGG16


class Peer(NamedTuple):
    """A program that runs the network, or says what the machine can do.

    Attributes:
        title: what it is called in tables.
        file: what it loads, see `fcn_keras.bench.peers.files`.
        precision: what it computes in.
        elided: whether its network leaves out what is known of the padding; None: runs none.
        module: a module that it cannot do without.
        anywhere: whether it runs networks on other classifiers than VGG16: it loads what is
            exported, and has no network of its own.
        onednn: whether TensorFlow computes by oneDNN as in this package's commands; if not, as
            it comes.
    """

    title: str
    file: str = "network.keras"
    precision: str = "float32"
    elided: bool | None = False
    module: str | None = None
    anywhere: bool = True
    onednn: bool = True


_EXPORT = "fcn_keras, SavedModel in C++"

PEERS = {
    "ours": Peer(_EXPORT, "saved_model", elided=True),
    "ours_plain": Peer(f"{_EXPORT}, no elision", "saved_model_plain", anywhere=False),
    "ours_bfloat16": Peer(f"{_EXPORT}, bfloat16", "saved_model_bfloat16", "bfloat16", True),
    "ours_frozen": Peer(f"{_EXPORT}, frozen", "saved_model_frozen", elided=True),
    "keras": Peer("fcn_keras in Keras", elided=True, onednn=False),
    "usual_keras": Peer("Keras, the usual way", anywhere=False, onednn=False),
    "torch": Peer("PyTorch", module="torch", anywhere=False),
    "torch_channels_last": Peer("PyTorch, channels last", module="torch", anywhere=False),
    "torch_compile": Peer("PyTorch, compiled", module="torch", anywhere=False),
    "torch_bfloat16": Peer(
        "PyTorch, channels last, bfloat16",
        precision="bfloat16",
        module="torch",
        anywhere=False,
    ),
    "onnxruntime": Peer("ONNX Runtime", "network.onnx", elided=True, module="onnxruntime"),
    "openvino": Peer("OpenVINO", "network.xml", elided=True, module="openvino"),
    "openvino_bfloat16": Peer(
        "OpenVINO, bfloat16", "network.xml", "bfloat16", elided=True, module="openvino"
    ),
    "litert": Peer("LiteRT", "network.tflite", elided=True, module="ai_edge_litert"),
    "opencv": Peer("OpenCV", "usual.onnx", module="cv2", anywhere=False),
    "product": Peer("matrix product, TensorFlow", elided=None),
    "product_numpy": Peer("matrix product, NumPy", elided=None),
    "product_bfloat16": Peer(
        "matrix product, TensorFlow, bfloat16", precision="bfloat16", elided=None
    ),
    "copy": Peer("copying memory", elided=None),
}


class StepPeer(NamedTuple):
    """Who makes training steps in place of this package.

    Attributes:
        title: what it is called in tables.
        backbone: the classifier that its network is on.
        smp: the network of segmentation_models_pytorch (smp), one of `SMP`; None: an FCN.
        channels_last: whether PyTorch's maps are in that order.
    """

    title: str
    backbone: str = VGG16
    smp: str | None = None
    channels_last: bool = False


# The networks of segmentation_models_pytorch that are compared: its name of each.
SMP = {"fpn": "FPN", "deeplabv3plus": "DeepLabV3Plus"}

SMP_BACKBONE = "mobilenet_v2"

OURS = "ours"

METHODS = (OURS, *SMP)  # what is trained from the same weights, see `fcn_keras.bench.quality`

STEPS = {  # those in PyTorch begin with its name
    "keras": StepPeer(PEERS["usual_keras"].title),
    "torch": StepPeer(PEERS["torch"].title),
    "torch_channels_last": StepPeer(PEERS["torch_channels_last"].title, channels_last=True),
    **{
        f"torch_{name}{'_channels_last' * last}": StepPeer(
            f"smp's {title}{', channels last' * last}", SMP_BACKBONE, name, last
        )
        for name, title in SMP.items()
        for last in (False, True)
    },
}

CEILINGS = tuple(name for name, peer in PEERS.items() if peer.elided is None)

# Take far more memory than others to write the paper's network, or many times as long to run it.
OPT_IN = ("ours_frozen", "litert")


def default_peers(backbone: str = VGG16) -> list[str]:
    """Returns the names of the peers that run a network, but those that are to be asked for."""
    names = [name for name in PEERS if name not in CEILINGS]
    if backbone == VGG16:
        return [name for name in names if name not in OPT_IN]
    return [name for name in names if PEERS[name].anywhere and name != "ours_frozen"]
