"""A nameserver on loopback, over UDP, with what the test gives it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Nameserver(asyncio.DatagramProtocol):
    """`say` sets the records of a name and kind; a name without any does not exist. What is in `silent` gets
    no answer. `asked`: names and kinds, in order. `along`: addresses of targets are sent with SRV records."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.silent: set[str] = set()
        self.refuses = False
        self.along = True
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def say(self, name: str, kind: str, *records: str) -> None:
        self.records[f"{name}.", kind] = list(records)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if self.refuses:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
            if kind == "SRV" and self.along:
                for target in {record.split()[3] for record in records}:
                    if addresses := self.records.get((target, "A")):
                        answer.additional.append(dns.rrset.from_text(target, 60, "IN", "A", *addresses))
        self._transport.sendto(answer.to_wire(), peer)


@asynccontextmanager
async def nameserver() -> AsyncIterator[Nameserver]:
    """A running one."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Nameserver, ("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
