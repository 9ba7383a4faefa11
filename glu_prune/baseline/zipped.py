"""Files in a ZIP archive from elsewhere: read one by one, and never more than they say, or than is allowed."""

import struct
import zipfile
import zlib
from pathlib import Path

from glu_prune.baseline.log import refuse_larger
from glu_prune.files import regular

_MIB = 2**20
MOST, MOST_OF_ALL = 128 * _MIB, 4096 * _MIB
"""Bytes of a file, and of all that are read, once they are decompressed."""
_ZSTANDARD = 93
"""The method that inspect compresses by; zipfile knows it from Python 3.14 on, pyarrow anyway."""
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Stands before each file: ends with the lengths of its name and of what is extra."""


class Archive:
    """A ZIP archive that is open."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` or `zipfile.BadZipFile` if there is none at `path`."""
        self._path = path
        self._zip = zipfile.ZipFile(regular(path))
        self._read = 0
        self.names = dict.fromkeys(self._zip.namelist()).keys()
        """Of all files; one that was written twice counts once, as it was written last."""

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()

    def read(self, name: str) -> bytes:
        """What the file `name` holds.

        Raises:
            zipfile.BadZipFile: it is not there whole.
            BaselineError: it is too large, or all that was read is.
        """
        info = self._zip.getinfo(name)
        self._read += info.file_size
        for what, size, most in ((name, info.file_size, MOST), ("what was read of it", self._read, MOST_OF_ALL)):
            refuse_larger(f"{self._path}: {what}", size, most)
        if info.compress_type == _ZSTANDARD:
            found = self._zstandard(info)
        else:
            with self._zip.open(info) as stream:
                found = stream.read(info.file_size)
        if len(found) != info.file_size or zlib.crc32(found) != info.CRC:
            msg = f"{name!r} is not what its checksum says"
            raise zipfile.BadZipFile(msg)
        return found

    def _zstandard(self, info: zipfile.ZipInfo) -> bytes:
        import pyarrow as pa

        with self._path.open("rb") as stream:
            stream.seek(info.header_offset)
            stream.seek(sum(_LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))), 1)
            packed = stream.read(info.compress_size)
        try:
            with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as unpacked:
                found: bytes = unpacked.read(info.file_size)
        except (OSError, pa.ArrowException) as error:
            msg = f"{info.filename!r} cannot be decompressed: {error}"
            raise zipfile.BadZipFile(msg) from error
        return found
