"""How long a training waits for storage that is slow now and then, by how many batches are prepared ahead.

    python -m benchmarks.slow_storage

A simulation of torch's DataLoader: workers take batches in turn, so many ahead of the training at most, and hand them
over in order.  A picture takes a lognormal time to read and prepare; now and then the whole storage answers nothing for
a while, as a network file system does when a server fails over.  Batches of 8, steps of half a second, two hours.
"""

from itertools import product

import numpy as np

STEP, BATCH, STEPS = 0.5, 8, 14_400  # seconds, samples, steps
MEDIAN, SPREAD = 0.15, 0.8  # seconds of a sample, and the standard deviation of its logarithm
STORAGES = {"steady": (0, 0), "10 s every 10 minutes": (600, 10), "60 s every hour": (3600, 60)}
WORKERS, AHEAD = (4, 8), (1, 2, 4, 8)


def waited(workers: int, ahead: int, every: float, stall: float, seed: int = 0) -> float:
    """The share of the time that the training waits."""
    rng = np.random.default_rng(seed)
    taking = rng.lognormal(np.log(MEDIAN), SPREAD, (STEPS, BATCH)).sum(1)
    free, over = np.zeros(workers), np.zeros(STEPS)  # when a worker is free; when the training is through with a batch
    now = 0.0
    for number in range(STEPS):
        worker, room = number % workers, number - workers * ahead
        start = max(free[worker], over[room] if room >= 0 else 0.0)
        ready = free[worker] = after_stalls(start, taking[number], every, stall)
        now = over[number] = max(now, ready) + STEP
    return 1 - STEPS * STEP / now


def after_stalls(start: float, work: float, every: float, stall: float) -> float:
    """When work that begins then is done, where the last ``stall`` seconds of each ``every`` nothing is."""
    while stall:
        within = start % every
        if within >= every - stall:
            start += every - within
        elif within + work > every - stall:
            work -= every - stall - within
            start += every - within
        else:
            break
    return start + work


def main() -> None:
    print(f"| workers, batches ahead of each | {' | '.join(STORAGES)} |")
    print(f"|---|{'---|' * len(STORAGES)}")
    for workers, ahead in product(WORKERS, AHEAD):
        shares = [waited(workers, ahead, *storage) for storage in STORAGES.values()]
        print(f"| {workers}, {ahead} | {' | '.join(f'{share:.2%}' for share in shares)} |")


if __name__ == "__main__":
    main()
