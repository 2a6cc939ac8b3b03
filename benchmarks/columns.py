"""Products by the matrix of fc6, as it is and with 16 more columns: `python benchmarks/columns.py`.

Its 4096 columns put each row 16 KiB behind the one before. With AVX2 alone that takes twice the
time, as the rows collide in the cache; oneDNN lays the matrix out anew if the windows are many.
"""

import numpy as np
from in_turns import in_turns

from fcn_keras.system.processor import use_onednn

VALUES = 7 * 7 * 512
WINDOWS = (64, 192, 256, 288, 512)
ROUNDS = 5


def main():
    use_onednn()  # before TensorFlow is imported
    import tensorflow as tf

    from fcn_keras.cpu.windows import BAD_COLUMNS
    from fcn_keras.cpu.winograd import MORE_COLUMNS

    def product(columns):
        matrix = tf.Variable(tf.random.stateless_normal((VALUES, columns), (0, columns)))
        return tf.function(lambda windows: tf.matmul(windows, matrix))

    columns = (BAD_COLUMNS, BAD_COLUMNS + MORE_COLUMNS)
    products = [product(number) for number in columns]
    print("windows " + "".join(f"{f'{number} columns':>15}" for number in columns) + "  ratio")
    for count in WINDOWS:
        windows = tf.constant(np.random.default_rng(0).normal(size=(count, VALUES)), tf.float32)
        functions = [lambda f=multiply, x=windows: f(x).numpy() for multiply in products]
        (one, _), (other, ratio) = in_turns(functions, ROUNDS)
        rates = [2 * count * VALUES * BAD_COLUMNS / 1e9 / seconds for seconds in (one, other)]
        print(f"{count:7} " + "".join(f"{rate:10.0f} GF/s" for rate in rates) + f"{ratio:8.2f}")


if __name__ == "__main__":
    main()
