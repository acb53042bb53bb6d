"""The same work on many things, on several threads: results come in the order of the things, as from one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_WAITING = 3


def in_order(work: Callable[[Thing], Result], things: Iterable[Thing], threads: int) -> Iterator[Result]:
    """What ``work`` makes of each thing, in their order; at most three a thread are begun or wait to be taken.

    Threads, not processes: Pillow's decoders and NumPy's arithmetic leave Python to others, and pixels need not be
    sent from one process to another.

    Raises:
        Exception: what ``work`` raises for the first of the things for which it does; what has not begun is left.
    """
    if threads == 1:
        yield from map(work, things)
        return
    waiting = deque[Future[Result]]()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for thing in things:
                waiting.append(pool.submit(work, thing))
                if len(waiting) == _WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
