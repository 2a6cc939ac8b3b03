"""Work in threads, a little ahead."""

from multiprocessing.pool import ThreadPool

import pytest

from fcn_keras.system.threads import ahead


class _Pool:
    """Does everything at once, or leaves it until it is asked for."""

    def __init__(self, at_once):
        self.at_once, self.asked = at_once, []

    def apply_async(self, function, arguments):
        self.asked.append(arguments[0])
        return _Result(function(*arguments), self.at_once)


class _Result:
    def __init__(self, value, done):
        self.value, self.done = value, done

    def ready(self):
        return self.done

    def get(self):
        return self.value


@pytest.mark.parametrize(("at_once", "underway"), [(True, 1), (False, 4)])
def test_what_is_done_waits_for_nothing(at_once, underway):
    pool = _Pool(at_once)
    answers = ahead(pool, str, range(9), 3)
    assert next(answers) == "0"
    assert pool.asked == [*range(underway)]
    assert [*answers] == [str(number) for number in range(1, 9)]


@pytest.mark.parametrize("depth", [0, 1, 5, 50])
def test_order_is_kept(depth):
    with ThreadPool(3) as pool:
        assert [*ahead(pool, lambda x: x * x, range(30), depth)] == [x * x for x in range(30)]
