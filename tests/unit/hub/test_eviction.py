"""What goes out of a full queue: the oldest of QoS 0, then the oldest, and nothing that its receiver must still get."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lockgate.hub.eviction import Eviction
from lockgate.model.message import Message
from lockgate.model.session import Delivery
from lockgate.model.topic import TopicName


def delivery(qos: int, tag: int, is_repeated: bool = False) -> Delivery:
    return Delivery(Message(TopicName("a"), b"x"), qos, tag=tag, is_repeated=is_repeated)


def queue_of(*qos: int) -> deque[Delivery]:
    return deque(delivery(each, tag) for tag, each in enumerate(qos))


def test_qos_0_goes_first_and_then_the_oldest() -> None:
    queue, eviction = queue_of(1, 0, 2, 0, 1), Eviction()
    gone = [eviction.take_out(queue) for _ in range(6)]
    assert [each.tag if each else None for each in gone] == [1, 3, 0, 2, 4, None]


def test_a_qos_2_delivery_that_may_have_been_sent_stays() -> None:
    queue = deque([delivery(2, 0, True), delivery(1, 1, True), delivery(2, 2)])
    eviction = Eviction()
    gone = [eviction.take_out(queue) for _ in range(3)]
    assert [each.tag if each else None for each in gone] == [1, 2, None]


def expected(queue: deque[Delivery]) -> Delivery | None:
    ready = [d for d in queue if d.qos == 0] or [d for d in queue if d.qos == 1 or not d.is_repeated]
    return ready[0] if ready else None


kinds = st.tuples(st.integers(0, 2), st.booleans())


@given(st.lists(st.sampled_from(["out", "out", "pop", "left", "new"]) | kinds, max_size=60))
def test_it_agrees_with_a_look_through_the_whole_queue(steps: list[str | tuple[int, bool]]) -> None:
    queue: deque[Delivery] = deque()
    eviction = Eviction()
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            queue.append(delivery(step[0], number, step[1]))
        elif step == "left":
            queue.appendleft(delivery(2, number, True))
        elif step == "new":
            queue = deque(each for each in queue if each.tag % 3)
        elif step == "pop" and queue:
            head = queue.popleft()
            if number % 3:  # who does not say so is found out, and costs another look
                eviction.head_left(queue, head)
        elif step == "out":
            wanted = expected(queue)
            assert eviction.take_out(queue) is wanted
            assert wanted is None or all(each is not wanted for each in queue)


class Counted(deque[Delivery]):
    """A queue that counts how often one looks into it."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)


def test_a_reader_that_takes_one_for_each_that_comes_costs_no_look_through_the_whole_queue() -> None:
    queue, eviction = Counted(queue_of(*[1] * 1000)), Eviction()
    eviction.take_out(queue)
    queue.looks = 0
    for tag in range(1000, 1100):
        eviction.head_left(queue, queue.popleft())
        queue.extend([delivery(1, tag), delivery(1, tag)])
        eviction.take_out(queue)
    assert queue.looks < 2000
