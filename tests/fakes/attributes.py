"""The attributes of objects of ours, plain or compiled."""


def attributes_of(kind: type) -> list[str]:
    """The attributes that instances of `kind` have, inherited ones too. Compiled classes have no slots, but
    list their attributes."""
    found: dict[str, None] = {}
    for each in kind.__mro__:
        slots = each.__dict__.get("__mypyc_attrs__", each.__dict__.get("__slots__", ()))
        found |= dict.fromkeys([slots] if isinstance(slots, str) else slots)
    return list(found)
