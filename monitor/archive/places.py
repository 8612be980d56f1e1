"""Where Parquet files lie: a local directory, or whatever fsspec reaches. A file is there whole, or not at all."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from monitor.errors import SetupError

Write = Callable[[Any], None]  # writes into an open binary file


class Place(Protocol):
    """Files by relative path, `/` between its parts."""

    def write(self, path: str, write: Write) -> int:
        """Make or replace a file, durably; returns its bytes. A reader sees the old file or the new one."""
        ...

    def open(self, path: str) -> Any:
        """The file, for reading."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def files(self, folder: str) -> Iterator[str]:
        """The paths of all Parquet files below a folder; none when there is no such folder."""
        ...


def place_of(url: str) -> Place:
    """The place that KEEPWATCH_ARCHIVE_URL names.

    Raises:
        SetupError: what it needs is not installed, or fsspec does not know it.
    """
    if "://" not in url:
        return LocalPlace(Path(url))
    try:
        import fsspec
    except ImportError:
        raise SetupError("KEEPWATCH_ARCHIVE_URL: for a URL install fsspec: pip install 'keepwatch[archive]'") from None
    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise SetupError(f"KEEPWATCH_ARCHIVE_URL: {str(error).splitlines()[0]}") from None
    return RemotePlace(system, root)


class LocalPlace:
    """A directory. Files are written beside their place, synced, and renamed into it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, write: Write) -> int:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            size = unfinished.stat().st_size
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        inner = PurePosixPath(path).parent
        for folder in (inner, *inner.parents):
            sync_folder(self.root / folder)
        return size

    def open(self, path: str) -> Any:
        return (self.root / path).open("rb")

    def remove(self, path: str) -> None:
        target = self.root / path
        target.unlink(missing_ok=True)
        if target.parent != self.root and target.parent.is_dir() and not any(target.parent.iterdir()):
            target.parent.rmdir()

    def files(self, folder: str) -> Iterator[str]:
        for path in sorted((self.root / folder).glob("**/*.parquet")):
            if not path.name.startswith("."):
                yield path.relative_to(self.root).as_posix()


class RemotePlace:
    """A file system of fsspec: object stores make a file visible when all of it is there."""

    def __init__(self, system: Any, root: str) -> None:
        self._system, self._root = system, PurePosixPath(root)

    def write(self, path: str, write: Write) -> int:
        import io

        buffer = io.BytesIO()  # files are bounded in rows, see monitor.archive.keep
        write(buffer)
        target = self._path(path)
        self._system.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        self._system.pipe_file(target, buffer.getvalue())
        return len(buffer.getvalue())

    def open(self, path: str) -> Any:
        return self._system.open(self._path(path), "rb")

    def remove(self, path: str) -> None:
        if self._system.exists(self._path(path)):
            self._system.rm_file(self._path(path))

    def files(self, folder: str) -> Iterator[str]:
        self._system.invalidate_cache()
        start = self._path(folder)
        if not self._system.exists(start):
            return
        for found in sorted(self._system.find(start)):
            if found.endswith(".parquet"):
                yield str(PurePosixPath(found).relative_to(self._root))

    def _path(self, path: str) -> str:
        return str(self._root / path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
