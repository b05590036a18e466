"""What one worker may have of a limit that counts for all of them together."""


def share(total: int, workers: int, slot: int, index: int) -> int:
    """The part of `total` for the worker of `slot`; the parts of all slots add up to `total`.

    What cannot be divided goes to other workers for another `index` (a row of the stats segment, for
    example), so that over many limits none is always the poorer.
    """
    each, surplus = divmod(total, workers)
    return each + ((slot - index) % workers < surplus)
