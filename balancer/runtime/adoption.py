"""Accept queues without a worker (L7): another worker accepts for these slots until they have one again."""

import logging
from collections.abc import Sequence

from balancer.messages import Adopt, Release
from balancer.runtime.slot import Slot, SlotState


def adopt(slots: Sequence[Slot], slot: Slot, log: logging.Logger) -> None:
    """Let a ready worker accept for `slot`, if there is one: the one that has adopted the fewest slots."""
    ready = [sibling for sibling in slots if sibling.state is SlotState.READY]
    adopted = [each.adopted_by for each in slots]
    for sibling in sorted(ready, key=lambda each: adopted.count(each.number)):
        assert sibling.life is not None  # as it is ready
        if sibling.life.process.send(Adopt(slot=slot.number)):
            slot.adopted_by = sibling.number
            if slot.state is not SlotState.UNUSED:
                log.warning("worker %d accepts for worker %d until it is back", sibling.number, slot.number)
            return


def abandon(slots: Sequence[Slot], gone: Slot) -> None:
    """The worker of slot `gone` has ended: the slots it had adopted need another one."""
    for slot in slots:
        if slot.adopted_by == gone.number:
            slot.adopted_by = None


def release(slots: Sequence[Slot], slot: Slot) -> None:
    """`slot` has a worker again."""
    if slot.adopted_by is not None:
        sibling = slots[slot.adopted_by]
        slot.adopted_by = None
        if sibling.life is not None:
            sibling.life.process.send(Release(slot=slot.number))
