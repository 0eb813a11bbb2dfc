"""The order of a stream of pictures: each once a pass, a batch of one kind, the same whatever was asked before."""

import numpy as np
import pytest

from training.data.order import WINDOW, Order


def drawn(order: Order, start: int, stop: int) -> list[int]:
    return [order.at(*order.place(index)) for index in range(start, stop)]


@pytest.mark.parametrize("block", [1, 4, 100])
def test_every_picture_comes_once_a_pass_and_the_next_pass_has_another_order(block):
    order = Order([np.arange(10, 33)], block, seed=0)
    first, second = drawn(order, 0, 23), drawn(order, 23, 46)
    assert sorted(first) == sorted(second) == list(range(10, 33)) and first != second
    assert first != drawn(Order([np.arange(10, 33)], block, seed=1), 0, 23)


def test_a_place_holds_the_same_picture_whatever_was_asked_before():
    groups, places = [np.arange(7), np.arange(7, 30)], [999, 3, 512, 0]
    order = Order(groups, 4, seed=5)
    assert [drawn(order, i, i + 1) for i in places] == [drawn(Order(groups, 4, seed=5), i, i + 1) for i in places]


@pytest.mark.parametrize("counts", [(7, 23, 40), (1, 2, 64), (3, 3)])
@pytest.mark.parametrize("block", [1, 4, 10])
def test_a_block_is_of_one_group_and_each_group_is_gone_through_whole(counts, block):
    ends = np.cumsum((0, *counts))
    order = Order([np.arange(low, high) for low, high in zip(ends, ends[1:], strict=False)], block, seed=2)
    long = 20 * block * sum(counts)
    places = [order.place(index) for index in range(long)]
    for group, count in enumerate(counts):
        own = [place for which, place in places if which == group]
        assert sorted(own) == list(range(len(own))), "none is left out, none comes twice"
        assert len(own) / long == pytest.approx(count / sum(counts), abs=0.02), "by its share"
        seen = [order.at(group, place) for place in range(3 * count)]
        assert all(sorted(seen[p * count :][:count]) == list(range(*ends[group : group + 2])) for p in range(3))
    kinds = np.array([which for which, _ in places]).reshape(-1, block)
    assert (kinds == kinds[:, :1]).all()


def test_neighbours_come_from_a_few_shards_and_not_from_one():
    units = np.repeat(np.arange(40), 50)
    order = Order([np.arange(2000)], 1, seed=0, units=units)
    numbers = np.array(drawn(order, 0, 2000))
    assert sorted(numbers) == list(range(2000))
    for window in units[numbers][: 32 * 50].reshape(2, 16 * 50):
        assert len(set(window)) == WINDOW
    batches = units[numbers].reshape(-1, 20)
    assert np.median([len(set(batch)) for batch in batches]) > 8, "a batch of 20 is not of one shard"
