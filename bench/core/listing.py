"""The folders and files of data sets, found by name whatever their case, image format or nesting.

The official place comes first and is taken as it is. Only where it is absent are others looked into, nearest first; two
that fit equally well are refused by name. Each folder is listed once, and no file is asked for by trying names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path

from bench.core import packed
from bench.core.errors import MissingData
from bench.core.files import all_data, data

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
MASKS = tuple(end for end in IMAGES if end not in LOSSY)
NESTED = 2  # folders that an archive or a copy may have put around the official ones
_NAMED = 4  # entries of a folder that an error names
_COMPARED = 1000  # entries that are compared with what is absent

Names = str | tuple[str, ...]  # of a folder: its own, and others that it goes by


@dataclass(frozen=True)
class Location:
    """Where a data set lies: a folder below $BENCH_DATA, or as data.yaml says.

    ``aliases`` are other names that people give the folder. Upper and lower case, ``_`` and ``-`` never matter.
    """

    name: str
    aliases: tuple[str, ...] = ()
    archives: bool = True  # whether files are read that still lie in a .zip

    @property
    def root(self) -> Path:
        """The folder under its own name, which may not exist."""
        return data(self.name)

    def find(self, *chain: Names) -> Path | None:
        """The folder at the end of a chain of names, such as leftImg8bit, val; None without any.

        Looked for in the data set's own folder, in one of another name, right in $BENCH_DATA, and at last inside .zip
        archives in these; at most ``NESTED`` folders deeper than it should be. Raise MissingData where two are found,
        and for an archive that cannot be read where none is.
        """
        faults: list[MissingData] = []
        for archives in (False, True) if self.archives else (False,):
            for folders, depth in self._candidates(_first(chain[0]), archives):
                if match := _Search(archives, faults).find(folders, chain, depth):
                    return match
        if faults:
            raise faults[0]
        return None

    def wanted(self, *chain: Names) -> Path:
        """The official path of a chain, for messages."""
        return self.root.joinpath(*map(_first, chain))

    def _candidates(self, entry: str, archives: bool) -> Iterable[tuple[Sequence[Path], int]]:
        """Folders to look into for an entry, in the order of their claim, each with how deep."""
        above, own = all_data(), self.root
        yield [own], NESTED
        if (elsewhere := data(entry)) != above / entry:  # data.yaml names the inner folder
            yield [elsewhere.parent], 0
        if own == above / self.name and packed.is_folder(above):
            children = _Search(archives, []).folders(above)
            keys = {_key(name) for name in (self.name, *self.aliases)}
            yield [child for child in children if _key(_bare(child)) in keys and child != own], NESTED
            yield [above], 0
            zipped = [child for child in children if _bare(child) != child.name]
            yield [child for child in zipped if _key(_bare(child)).startswith(_key(entry))], 1


@dataclass(frozen=True)
class Tree:
    """All files below a folder, by how many folders lie between: links are followed, hidden files passed over."""

    folder: Path

    @cached_property
    def levels(self) -> Sequence[Sequence[Path]]:
        """The files of each depth, in the order of their paths."""
        levels: list[list[Path]] = []
        real = Path(os.path.realpath(self.folder))
        folders, entered = [self.folder], {str(real), *map(str, real.parents)}
        while folders:
            inner: list[Path] = []
            levels.append([])
            for folder in folders:
                below, files = packed.entries(folder)
                levels[-1] += files
                for child in below:
                    if not child.is_symlink():
                        inner.append(child)
                    elif (target := os.path.realpath(child)) not in entered:  # a link to a folder above has no end
                        entered.add(target)
                        inner.append(child)
            folders = inner
        return levels

    def ids(
        self,
        *,
        before: str = "",
        after: str = "",
        ends: Sequence[str] = IMAGES,
        depth: int | None = None,
        folders: bool = False,
    ) -> Mapping[str, Path]:
        """Id to file, sorted by id: the name without ``before``, ``after`` and one of the endings, in any case.

        Files ``depth`` folders down are taken; where there are none, and with None, those of every depth. ``folders``
        below this one, in lower case, are part of the id, as in ``t5/300``. Raise MissingData for two files of one id.
        """
        base = self.folder if folders else None
        official = self.levels[depth] if depth is not None and depth < len(self.levels) else ()
        if paths := by_id(official, before, after, ends, base):
            return paths
        return by_id([path for level in self.levels for path in level], before, after, ends, base)

    def names(self) -> Mapping[str, Path]:
        """File name in lower case to file, of those right in the folder. Raise MissingData for two of one name."""
        paths = {path.name.lower(): path for path in self.levels[0]}
        if len(paths) < len(self.levels[0]):
            twice = next(path for path in self.levels[0] if paths[path.name.lower()] != path)
            raise MissingData(f"{twice} and {paths[twice.name.lower()]} have one name; keep one of them")
        return paths


def inside(root: Path, *chain: Names) -> Path | None:
    """The folder at the end of a chain of names in ``root``, or a little deeper; None without any."""
    return _Search(False, []).find([root], chain, NESTED)


def nearest(folder: Path, chosen: Callable[[Path], bool]) -> list[Path]:
    """The chosen files right in a folder, or where there are none, those at any depth below it, sorted."""
    levels = Tree(folder).levels
    flat = [path for path in levels[0] if chosen(path)]
    return sorted(flat or [path for level in levels for path in level if chosen(path)])


def tree(folder: Path, missing: str = "") -> Tree:
    """The files below a folder. Raise MissingData if it does not exist; ``missing`` is the next step."""
    if not packed.is_folder(folder):
        raise MissingData(f"{folder} does not exist{nearby(folder)}{then(missing)}")
    return Tree(folder)


def nearby(path: Path) -> str:
    """In words for an error, the entries of the nearest folder that does exist, the most similar first."""
    parent = next((folder for folder in list(path.parents)[:3] if packed.is_folder(folder)), None)
    if parent is None:
        return ""
    absent = path.relative_to(parent).parts[0]
    try:
        folders, files = packed.entries(parent)
    except MissingData as error:
        return f"; {error}"
    names = [f"{folder.name}/" for folder in folders] + [file.name for file in files]
    ranked = sorted(
        names[:_COMPARED], key=lambda name: (-SequenceMatcher(None, _key(name), _key(absent)).ratio(), name)
    )
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"; {parent} holds {', '.join(ranked[:_NAMED])}{more}" if names else f"; {parent} is empty"


def lossy(mask: Path, image: Path | None = None) -> str:
    """In words for an error, the lossy file that lies where a mask is wanted; empty without one."""
    if not packed.is_folder(mask.parent):
        return ""
    for path in packed.entries(mask.parent)[1]:
        form = LOSSY.get(path.suffix.lower())
        if form and path != image and path.stem.casefold() == mask.stem.casefold():
            return (
                f"; {path.name} lies there, but {form} changes values, so that they are no longer those of the"
                f" labels: take masks that were always PNG, never one converted from {form}"
            )
    return ""


@dataclass(frozen=True)
class _Search:
    archives: bool  # whether a .zip counts as a folder
    faults: list[MissingData]  # of archives that could not be read

    def find(self, roots: Iterable[Path], chain: Sequence[Names], depth: int) -> Path | None:
        """The one folder that a chain of names leads to, from a root or at most ``depth`` folders below it."""
        level = [
            root for root in roots if root.is_dir() or (self.archives and root.is_file() and _bare(root) != root.name)
        ]
        for _ in range(depth + 1):
            matches = {os.path.realpath(path): path for folder in level for path in self._ends(folder, chain)}
            if len(matches) > 1:
                first, second = list(matches.values())[:2]
                raise MissingData(
                    f"{first} and {second} could both be meant; keep one of them, or say in data.yaml which folder to"
                    f" look into"
                )
            if matches:
                return next(iter(matches.values()))
            level = [child for folder in level for child in self.folders(folder)]
        return None

    def folders(self, folder: Path) -> Sequence[Path]:
        """The folders in one, and the archives if they count."""
        try:
            folders, files = packed.entries(folder)
        except MissingData as error:
            if folder.is_dir():
                raise
            self.faults.append(error)
            return []
        return [*folders, *(path for path in files if self.archives and _bare(path) != path.name)]

    def _ends(self, folder: Path, chain: Sequence[Names]) -> Sequence[Path]:
        paths = [folder]
        for names in chain:
            paths = [child for path in paths for child in self._named(path, names)]
        return paths

    def _named(self, folder: Path, names: Names) -> Sequence[Path]:
        """The folders that go by a name: the one that is spelled so, or else all that are spelled alike."""
        if (exact := folder / _first(names)).is_dir():
            return [exact]
        keys = {_key(name) for name in ((names,) if isinstance(names, str) else names)}
        return [child for child in self.folders(folder) if _key(_bare(child)) in keys]


def _bare(path: Path) -> str:
    """The name of a folder, or that of an archive without its ending."""
    return path.stem if path.suffix.lower() == packed.SUFFIX else path.name


def by_id(
    files: Iterable[Path],
    before: str = "",
    after: str = "",
    ends: Sequence[str] = IMAGES,
    base: Path | None = None,
) -> Mapping[str, Path]:
    """The files of which the name fits, by what stands between ``before`` and ``after``; see ``Tree.ids``.

    With ``base``, ids begin with the folders between it and the file.
    """
    paths: dict[str, Path] = {}
    for path in files:
        end = path.suffix.lower()
        stem = path.name[: len(path.name) - len(end)]
        inside = stem.casefold().endswith(after.casefold()) and stem.casefold().startswith(before.casefold())
        if end not in ends or not inside:
            continue
        name = stem[len(before) : len(stem) - len(after)]
        if base is not None:
            name = "/".join([*(part.lower() for part in path.relative_to(base).parts[:-1]), name])
        if name in paths:
            raise MissingData(f"{path} and {paths[name]} are both the frame {name}; keep one of them")
        paths[name] = path
    return dict(sorted(paths.items()))


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _first(names: Names) -> str:
    return names if isinstance(names, str) else names[0]


def then(step: str) -> str:
    """A next step as the end of an error."""
    return f"; {step}" if step else ""
