"""The files of a certificate with its key (L1), as written in TLS__CERTIFICATES. Without pydantic, which the
supervisor does not load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Two paths; `key` is "" if the certificate's file has the key too."""

    certificate: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.certificate}:{self.key}" if self.key else self.certificate


def parse_pair(item: object) -> PairFiles:
    """`/run/site.pem:/run/site.key`, or one file with both. Raises ValueError with the end of a sentence."""
    if isinstance(item, PairFiles):
        return item
    if not isinstance(item, str):
        raise ValueError("has an item that is not text; write certificate:key, both paths")
    if "-----BEGIN" in item:
        raise ValueError("holds PEM text, not paths; put it into TLS__CERTIFICATE and TLS__KEY")
    certificate, *keys = (part.strip() for part in item.split(":"))
    if not certificate or len(keys) > 1 or not all(keys):
        raise ValueError(
            f"has an item that is neither certificate:key nor one path ({item}); write "
            "/run/site.pem:/run/site.key; paths have no colon and no comma"
        )
    return PairFiles(certificate, *keys)
