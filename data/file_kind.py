"""What a file is, told from its first bytes: a picture, or something that is neither a picture nor a video."""

from __future__ import annotations

import codecs
import os
import re
import stat

from rewards.files import special_kind

# How much of a file's start, and of its end, is looked at, bytes.
GLANCE = 4096

_AGAIN = "download it again"
_UNPACK = "unpack it first"
_TABLE = "take the videos out of it"
# Offset, bytes there, what the file is, and what to do about it.
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", _AGAIN),
    (0, b"\x1f\x8b\x08", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"%PDF-", "a PDF document", "save its pages as pictures"),
    (0, b"PAR1", "a Parquet table", _TABLE),
    (0, b"ARROW1", "an Arrow table", _TABLE),
    (0, b"\x89HDF\r\n", "an HDF5 file", _TABLE),
    (0, b"\x93NUMPY", "a NumPy array", "save its frames as a video"),
    (0, b"SQLite format 3\0", "an SQLite database", _TABLE),
    (0, b"8BPS", "a Photoshop document", "save it as PNG"),
    (0, b"\xff\x0a", "a JPEG XL picture, which is not read", "convert it to PNG"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture, which is not read", "convert it to PNG"),
    (0, b"\0\x05\x16\x07", "a macOS resource file, neither video nor picture", "copy the file itself again"),
    (0, b"#!", "a script, not a video", "name the file itself"),
    (0, b"#EXTM3U", "a playlist, not a video", "download the video that it lists"),
)
# macOS writes such a file beside each of its own, on disks of other systems and in archives: `._a.mp4`.
APPLE_DOUBLE = "._"
_LEFTOVERS = (".part", ".partial", ".crdownload", ".opdownload", ".ytdl", ".aria2")

_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# The sizes that a BMP's second header may have: two letters alone would be too weak a sign.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})

_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")
_BEFORE_MARKUP = re.compile(r"(?:\s|<!--.*?(?:-->|\Z)|<\?xml.*?(?:\?>|\Z))*", re.DOTALL | re.IGNORECASE)
_WEB_PAGE = re.compile(
    r"<(?:!doctype\s+html|html|head|title|meta|link|style|script|body|center|div|h1|iframe|table|span|p|a|b|br)\b",
    re.IGNORECASE,
)
_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')


def foreign_content(path: str | os.PathLike[str]) -> str | None:
    """Why a path holds neither a video nor a picture, and the remedy: "is a web page, ...: download it again".

    It is told from the first 4 KiB (an all-zero file also from the last), from the kind of file, and from a name that
    only leftovers have. None means that nothing speaks against the content, and is always said of a folder; whether it
    can be decoded is for a reader to see.

    Raises:
        OSError: there is no such path, or it may not be read.
        ValueError: the path has a null byte.
    """
    path = os.fspath(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return _broken_link(os.readlink(path))
        raise
    if stat.S_ISDIR(status.st_mode):
        return None
    if kind := special_kind(status.st_mode):
        return f"is {kind}, which is never opened: name a file"
    return _unfit_name(os.path.basename(path)) or _unfit_bytes(path, status.st_size)


def picture_kind(path: str | os.PathLike[str]) -> str | None:
    """JPEG, PNG, BMP, WebP, TIFF, AVIF or GIF where a file's first bytes say so, whatever its name; None for all else.

    Raises:
        OSError: there is no such path, or it may not be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return None
    head = _read(path, 0)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return "WebP"
    if not _AVIF_BRANDS.isdisjoint(_picture_brands(head)):
        return "AVIF"
    return next((kind for magic, kind in _PICTURES if head.startswith(magic)), None)


def gif_is_cut(path: str | os.PathLike[str]) -> bool:
    """Whether a GIF ends within one of its blocks (GIF89a specification, sections 15 to 27).

    One that ends after a block is whole, though the byte that says so be missing; what follows that byte is no GIF.

    Raises:
        OSError: there is no such path, or it may not be read.
    """
    with open(path, "rb") as file:
        screen = file.read(13)
        file.seek(_colours(screen[10:11]), os.SEEK_CUR)
        while (kind := file.read(1)) not in (b"", b";"):
            skipped = 1 if kind == b"!" else 9
            head = file.read(skipped)
            if len(head) < skipped:
                return True
            if kind == b",":
                file.seek(_colours(head[8:]) + 1, os.SEEK_CUR)
            while length := file.read(1):
                if length == b"\0":
                    break
                file.seek(length[0], os.SEEK_CUR)
            else:
                return True
        return file.tell() > os.fstat(file.fileno()).st_size


def _colours(flags: bytes) -> int:
    """Bytes of the table of colours that the flags of a GIF's block announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read as a picture. A GIF is read as a video, and so is a stream of JPEGs.

    Raises:
        OSError: there is no such path, or it may not be read.
    """
    kind = picture_kind(path)
    # A stream of JPEGs begins as one JPEG does: only its name tells.
    stream = kind == "JPEG" and os.path.splitext(path)[1].lower() in {".mjpeg", ".mjpg"}
    return kind not in {None, "GIF"} and not stream


def _broken_link(target: str) -> str:
    if "annex/objects/" in target:
        return "is a git-annex link whose content is not here: run `git annex get` on it"
    return f"is a link to {target}, which is not there: link it again"


def _unfit_name(name: str) -> str | None:
    if name.startswith(APPLE_DOUBLE):
        return f"is a macOS resource file, not the video: use {name[2:]}"
    if name.lower().endswith(_LEFTOVERS):
        return f"is the leftover of an unfinished download: {_AGAIN}"
    return None


def _unfit_bytes(path: str, size: int) -> str | None:
    if size == 0:
        return f"is empty (zero bytes): {_AGAIN}"
    head = _read(path, 0)
    if not head.strip(b"\0") and not _read(path, max(0, size - GLANCE)).strip(b"\0"):
        return f"holds nothing but zeros, as an unfinished download does: {_AGAIN}"
    for offset, magic, kind, remedy in _FOREIGN:
        if head.startswith(magic, offset):
            return f"is {kind}: {remedy}"
    if not _HEIC_BRANDS.isdisjoint(_picture_brands(head)):
        return "is a HEIC picture, which is not read: convert it to JPEG"
    return _text_kind(head)


def _picture_brands(head: bytes) -> set[bytes]:
    """The brands of a file of the HEIF family. Those a video is compatible with do not count, only those it is."""
    if head[4:8] != b"ftyp":
        return set()
    if head[8:12] not in {b"mif1", b"msf1"}:
        return {head[8:12]}
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[at : at + 4] for at in range(16, end, 4)}


def _text_kind(head: bytes) -> str | None:
    text = _decode(head)
    # A page in an encoding that is not known is still a page.
    kind = _markup_kind(text or head.decode("latin-1"))
    if kind or text is None:
        return kind
    if text.startswith(
        ("version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/")
    ):
        return "is a Git LFS pointer, not the content itself: run `git lfs pull`"
    if re.match(r"# xet version\b", text):
        return "is a Xet pointer, not the content itself: download it again with the Hub's client"
    if text.startswith("/annex/objects/"):
        return "is a git-annex pointer, not the content itself: run `git annex get` on it"
    # It ends up in reports, where it must not act as anything but letters.
    begin = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split())[:60])
    begins = f'which begins "{begin}"'
    if _JSON.match(text):
        return f"is JSON text, as servers answer with, {begins}: {_AGAIN}"
    if re.match("<[A-Za-z!]", _BEFORE_MARKUP.sub("", text, count=1)):
        return f"is XML text, as servers answer with, {begins}: {_AGAIN}"
    if re.match(r"(?:HTTP/\S+ )?[45]\d\d(?::| [A-Z])", text):
        return f"is the error of a server, {begins}: {_AGAIN}"
    return f"is a text file, {begins}: name the file itself"


def _markup_kind(text: str) -> str | None:
    markup = _BEFORE_MARKUP.sub("", text.lstrip("\ufeff").removeprefix("ï»¿"), count=1)
    if _WEB_PAGE.match(markup) or (not markup and "<!--" in text):
        return f"is a web page, neither video nor picture: {_AGAIN}"
    if re.match(r"<(?:!doctype\s+)?svg\b", markup, re.IGNORECASE):
        return "is an SVG drawing, which is not read: convert it to PNG"
    if re.match(r"<mpd\b", markup, re.IGNORECASE):
        return "is a playlist, not a video: download the video that it lists"
    return None


def _decode(head: bytes) -> str | None:
    """The head as text, or None where it is none. A character may be cut at its end."""
    if head.startswith(b"YUV4MPEG2 "):  # raw video under a line of text
        return None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _mostly_ascii(head.decode("utf-16", "ignore"))
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
        except UnicodeDecodeError:
            text = _mostly_ascii(head.decode("cp1252", "replace"))
    return None if _CONTROL.search(text) else text


def _mostly_ascii(text: str) -> str:
    """The text, or what is no text: bytes of any kind are letters in these encodings."""
    return text if sum(map(str.isascii, text)) > 0.7 * len(text) else "\0"


def _read(path: str | os.PathLike[str], offset: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(GLANCE)
