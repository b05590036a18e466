"""Where automatic certificates are kept (L1). Without pydantic, which the supervisor does not load.

STORAGE/acme-v02.api.letsencrypt.org-5b3fa3b7/     one for each directory URL
    account.json                     the account's key and URL
    certificates/shop.example.pem    certificate, chain and key, in one file: it is replaced as a whole
    state/shop.example.json          failures, and when to try again
    pending/shop.example.json        challenges that the authority is being asked to look for now
    lock                             held by the instance that orders
    instances                        held by each instance, together with the others
"""

import os

CERTIFICATES, STATE, PENDING = "certificates", "state", "pending"


def certificate_file(folder: str, domain: str) -> str:
    """The file with the certificate of a domain, and its key."""
    return os.path.join(folder, CERTIFICATES, f"{domain}.pem")
