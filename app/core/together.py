"""What concurrent requests ask for, done together: one thread, one transaction, one flush of the log for all of them.

Who comes while a group is under way joins the next one; who comes alone is a group of one and waits for nobody. A
request that hops to a thread of its own and commits by itself costs twice as much (docs/adr/0101).
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

# One group computes while the other waits for the disk.
_GROUPS = 2
_LARGEST = 32


class Together(Generic[Asked, Answer]):
    """Calls `act` with whatever is asked at about the same time; it answers each, by value or by exception."""

    def __init__(self, act: Callable[[Sequence[Asked]], Sequence[Answer | Exception]], name: str) -> None:
        self._act = act
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._running = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_GROUPS, thread_name_prefix=name)

    async def join(self, asked: Asked) -> Answer:
        """The answer to `asked`."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((asked, answer))
            begin = self._running < _GROUPS
            self._running += begin
        if begin:
            self._threads.submit(self._work)
        return await answer

    def _work(self) -> None:
        """Act for group after group until nobody waits."""
        while group := self._next():
            try:
                answers = self._act([asked for asked, _ in group])
            except BaseException as error:  # noqa: BLE001 - it is the answer; a thread that ended would leave all waiting
                answers = [error if isinstance(error, Exception) else RuntimeError(repr(error))] * len(group)
            for loop in {future.get_loop() for _, future in group}:
                theirs = [
                    (future, answer)
                    for (_, future), answer in zip(group, answers, strict=True)
                    if future.get_loop() is loop
                ]
                with suppress(RuntimeError):  # a loop that was closed meanwhile: nobody is there to be answered
                    loop.call_soon_threadsafe(_deliver, theirs)

    def _next(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(_LARGEST, len(self._waiting)))]
            self._running -= not group
            return group


def _deliver(answers: Sequence[tuple[asyncio.Future[Answer], Answer | Exception]]) -> None:
    for future, answer in answers:
        if future.done():  # its request was given up
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
