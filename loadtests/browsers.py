"""Fifty browsers, each with a request head of its own, as a proxy behind a CDN sees them."""

import random
from collections.abc import Sequence

BROWSERS = 50
_SEED = 15
_SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; Pixel 8",
    "iPhone; CPU iPhone OS 17_5 like Mac OS X",
)
_LANGUAGES = ("en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.7", "fr-FR,fr;q=0.8", "ja", "pt-BR,pt;q=0.9", "it-IT")
_ACCEPTS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "application/json, text/plain, */*",
    "*/*",
)


def heads(count: int = BROWSERS) -> list[tuple[str, tuple[str, ...]]]:
    """The path and field lines of each browser's request: 7 to 11 fields, the same at every call."""
    source = random.Random(_SEED)
    return [_head(number, source) for number in range(count)]


def order(count: int, browsers: int = BROWSERS) -> Sequence[int]:
    """Which browser sends each of `count` requests: random, the same at every call."""
    source = random.Random(_SEED)
    return [source.randrange(browsers) for _ in range(count)]


def _head(number: int, source: random.Random) -> tuple[str, tuple[str, ...]]:
    version = source.randrange(110, 131)
    lines = [
        "Host: app.example.com",
        "Connection: keep-alive",
        f"User-Agent: Mozilla/5.0 ({source.choice(_SYSTEMS)}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version}.0.{source.randrange(10_000)}.0 Safari/537.36",
        f"Accept: {source.choice(_ACCEPTS)}",
        f"Accept-Language: {source.choice(_LANGUAGES)}",
        "Accept-Encoding: gzip, deflate, br",
        f"X-Forwarded-For: 198.51.100.{source.randrange(256)}",
    ]
    optional = (
        f"Cookie: session={source.getrandbits(128):032x}; seen={source.randrange(1_000)}",
        f"Referer: https://app.example.com/section/{source.randrange(100)}",
        "Upgrade-Insecure-Requests: 1",
        f'If-None-Match: "{source.getrandbits(64):016x}"',
    )
    lines += [line for line in optional if source.random() < 0.6]
    return f"/page/{number}", tuple(lines)
