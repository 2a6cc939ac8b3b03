"""Label maps from a server that speaks TensorFlow Serving's protocol, by REST or gRPC."""

from fcn_keras.client.client import Client

__all__ = ["Client"]
