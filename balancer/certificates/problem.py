"""What is wrong with a certificate, a key, or their files (L0)."""


class CertificateError(ValueError):
    """One problem. `where` is the file, or the setting that holds the PEM text; `text` is the rest of the
    sentence, with the remedy: it begins with a verb."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(f"{where} {text}")
        self.where = where
        self.text = text
