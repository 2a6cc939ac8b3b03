"""Networks in TensorFlow's C library, without its Python."""
