#!/usr/bin/env python3
"""Makes demo/data from the project's own files: what the demo submits when it is given nothing else.

    demo/make-data.py

weft-design.txt      the documentation, one page after the other
weft-chain.tar.gz    the source of the crate `chain`
eip4844-blob.json    131,072 bytes that are canonical for EIP-4844: each 32-byte word is a zero byte
                     and 31 bytes of the source of the crate `erasure`

The same files give the same bytes.
"""

import gzip
import io
import json
import pathlib
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "demo" / "data"

WORDS = 4096
WORD_BYTES = 31


def sources(folder: str, pattern: str) -> list[pathlib.Path]:
    return sorted(path for path in (ROOT / folder).rglob(pattern) if path.is_file())


def text(paths: list[pathlib.Path]) -> bytes:
    """The files, each under a line with its name."""
    parts = [f"==== {path.relative_to(ROOT)}\n".encode() + path.read_bytes() for path in paths]
    return b"\n".join(parts)


def archive(paths: list[pathlib.Path]) -> bytes:
    """A tar.gz without owners and times, so that it depends on the files alone."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path in paths:
            content = path.read_bytes()
            entry = tarfile.TarInfo(str(path.relative_to(ROOT)))
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return gzip.compress(tar.getvalue(), mtime=0)


def eip4844(content: bytes) -> bytes:
    """The first bytes of `content` as field elements; the first byte of each word is zero."""
    content = content[: WORDS * WORD_BYTES].ljust(WORDS * WORD_BYTES, b"\0")
    words = (content[at : at + WORD_BYTES] for at in range(0, len(content), WORD_BYTES))
    return b"".join(b"\0" + word for word in words)


def main() -> None:
    DATA.mkdir(exist_ok=True)
    blob = eip4844(text(sources("erasure", "*.rs")))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sources("docs", "*.md")]
    files = {
        "weft-design.txt": text(pages),
        "weft-chain.tar.gz": archive([ROOT / "chain/Cargo.toml", *sources("chain/src", "*.rs")]),
        "eip4844-blob.json": json.dumps({"data": "0x" + blob.hex()}).encode() + b"\n",
    }
    for name, content in files.items():
        (DATA / name).write_bytes(content)
        print(f"{len(content):>8} bytes  demo/data/{name}")


if __name__ == "__main__":
    main()
