"""Where each mailbox of an account is: names and directories, in both layouts of Dovecot.

Rule 1: INBOX is the root itself. Below it ``Work/2024`` is ``.Work.2024`` (Maildir++) or
        ``Work/2024`` (fs), each level in modified UTF-7.
Rule 2: a name has one directory and a directory one name. What is not written as `path` would
        write it is no mailbox: bad UTF-7, ``.inbox``, ``.a..b``, a control character. Dovecot lists
        some of these, and can open none. In one thing it makes more: the engine speaks NFC, but
        a directory may be in any spelling. Of those that are one name in NFC the first counts:
        the one that is in NFC, else by its letters.
Rule 3: in Maildir++ a directory is a mailbox that has one of cur, new, tmp. (Dovecot asks for
        nothing; but ``.git`` is none.) In fs it is one that has cur, as Dovecot's LIST has it;
        others are levels of hierarchy above mailboxes.
Rule 4: no symbolic link leads out of the tree. A folder that is a link to another one is an
        alias; removing it removes the link. A link is never a level above others, nor cur, new or
        tmp, so there are no loops. The root may be a link.
Rule 5: removing leaves empty levels behind, as Dovecot does, and in fs whatever directories are in
        a mailbox besides cur, new and tmp.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pymap.backend.api import DELIMITER
from pymap.backend.errors import BackendError, CannotDo, MailboxExists, MailboxNotFound
from pymap.backend.maildir import tree
from pymap.backend.maildir.dotlock import dotlock
from pymap.backend.maildir.tree import Move, is_directory, make_directory
from pymap.limits import Limits
from pymap.wire import modutf7

__all__ = ["INBOX", "LAYOUTS", "Fs", "OF_MAILBOX", "Layout", "MaildirPlusPlus"]

log = logging.getLogger("pymap.maildir")

INBOX = "INBOX"
SUBDIRECTORIES = ("new", "cur", "tmp")
MOST_OCTETS = 255  # of one name in a directory
LONGEST_PATH = 4095 - 300  # leaves room for the file of a message
ENTRIES = 100  # looked at for each mailbox that an account may have, then a scan ends

_CONTROL = re.compile("[\x00-\x1f]")

# Files that Dovecot or we keep where, in fs, a mailbox of that name would be.
_OUR_FILE = re.compile(
    r"""(dovecot-(uidlist|uidvalidity|keywords|shared|acl|acl-list|quota|expire|virtual)
        |dovecot\.(index|list\.index|map\.index|mailbox\.log|autoexpunge|sieve|svbin)
        |subscriptions|maildirsize|maildirfolder|mailboxes\.lock)([.-].*)?
        |pymap-.*""",
    re.VERBOSE,
)
OF_MAILBOX = ("pymap-index", "pymap-log", "pymap-cache", "pymap-properties", "pymap-acl")
"""What our files of one mailbox begin with; others in a root are of the account."""
_DOVECOT_OF_MAILBOX = ("dovecot-uidlist", "dovecot-keywords", "dovecot-acl", "dovecot.index")


class Layout(ABC):
    """The mailboxes of one account on disk. Blocking; OSError passes through. Any number of threads
    and processes may use the same tree, and Dovecot with them."""

    separator: str
    """What stands between levels in version 1 of `subscriptions`."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self._limits = limits or Limits()

    # -- names --

    def path(self, name: str) -> Path:
        """Where a mailbox of that name would be, by its name alone. Raises CannotDo if the layout
        cannot hold it."""
        if name == INBOX:
            return self.root
        levels = name.split(DELIMITER)
        if len(levels) > self._limits.mailbox_levels:
            raise CannotDo("The name has too many levels")
        raw = self._join([self._encode(level, not at) for at, level in enumerate(levels)])
        path = self.root / raw
        if len(raw.rpartition("/")[2]) > MOST_OCTETS or len(os.fsencode(path)) > LONGEST_PATH:
            raise CannotDo("The name is too long")
        return path

    def _encode(self, level: str, first: bool) -> str:
        """A level as it is on disk; `first` says that it is the topmost. Raises CannotDo."""
        if not level or _CONTROL.search(level):
            raise CannotDo("A level of the name is empty, or has a control character")
        if first and level.startswith("~"):
            raise CannotDo("A mailbox name cannot begin with ~")  # says Dovecot, and opens none
        if first and level != INBOX and level.isascii() and level.upper() == INBOX:
            raise CannotDo("That is INBOX")
        try:
            raw = modutf7.encode(level).decode("ascii")
        except ValueError:
            raise CannotDo("The name is not Unicode text") from None
        if len(raw) > MOST_OCTETS:
            raise CannotDo("The name is too long")
        return raw

    def _decode(self, raw: str, first: bool) -> str:
        """The level that `_encode` writes so. Raises ValueError or CannotDo if there is none."""
        level = modutf7.decode(raw.encode("ascii"))  # takes the one form only that encode makes
        self._encode(level, first)
        return level

    @abstractmethod
    def _join(self, levels: list[str]) -> str:
        """The path from the root, of levels as they are on disk."""

    # -- looking --

    def names(self) -> list[str]:
        """All mailboxes, INBOX among them, in any order. 15 to 25 ms for a thousand folders."""
        return [INBOX, *self._scan()]

    def places(self) -> dict[str, Path]:
        """All mailboxes with their directories, as `find` would give them."""
        return {INBOX: self.root, **{name: Path(path) for name, path in self._scan().items()}}

    def growing(self) -> list[Path]:
        """The directories in which mailboxes may appear or vanish."""
        return [self.root]

    def find(self, name: str) -> Path:
        """The directory of a mailbox that exists. Raises MailboxNotFound."""
        with suppress(CannotDo):
            directory = self._place(name)
            if self._is_reachable(directory):
                if name == INBOX or self._is_mailbox(str(directory)):
                    return directory
        raise MailboxNotFound

    @abstractmethod
    def _scan(self) -> dict[str, str]:
        """Every mailbox but INBOX, and where it is: as text, for with a Path at each step a scan
        would take twice as long."""

    @abstractmethod
    def _place(self, name: str) -> Path:
        """Where that name is, in whatever spelling; where it would be made if it is not there.
        Raises CannotDo."""

    @abstractmethod
    def _is_mailbox(self, directory: str) -> bool: ...

    def _is_reachable(self, directory: Path) -> bool:
        """Whether it is there and no link leads out of the tree on the way to it."""
        if directory == self.root:
            return directory.is_dir()
        above = directory.parent
        while above != self.root:
            if not is_directory(above):
                return False
            above = above.parent
        return is_directory(directory) or self._is_alias(directory)

    def _is_alias(self, link: str | Path) -> bool:
        if not os.path.islink(link):
            return False
        root, real = os.path.realpath(self.root), os.path.realpath(link)
        return os.path.isdir(real) and (real == root or real.startswith(root + os.sep))

    def _folders(self, directory: str, budget: Iterator[int]) -> dict[str, bool]:
        """The directories in one, and the links to others in the tree: whether each is a link.
        Every entry is taken from the budget; when that is used up, the rest is passed over."""
        found = {}
        try:
            with os.scandir(directory) as entries:
                for _, entry in zip(budget, entries, strict=False):
                    if entry.is_dir(follow_symlinks=False):
                        found[entry.name] = False
                    elif entry.is_symlink() and self._is_alias(entry.path):
                        found[entry.name] = True
        except (FileNotFoundError, NotADirectoryError):
            pass  # removed meanwhile
        except PermissionError as error:
            log.warning("%s: what is below does not show: %s", directory, error)
        return found

    def _budget(self) -> Iterator[int]:
        return iter(range(ENTRIES * self._limits.mailboxes))

    def _check_budget(self, budget: Iterator[int]) -> None:
        if next(budget, None) is None:
            log.warning("%s: far too many files: not all mailboxes show", self.root)

    # -- changing --

    def make(self, name: str) -> Path:
        """A new, empty mailbox, durable when this returns; a crash leaves nothing that is listed.

        `make("INBOX")` also makes the root and what is above it, and may be repeated after a
        crash. Raises MailboxExists, CannotDo, InUse.
        """
        if name == INBOX:
            _make_root(self.root)
        with self._changing():
            place = self._place(name)
            if self._is_reachable(place) and (place == self.root or is_directory(place)):
                missing = [sub for sub in SUBDIRECTORIES if not os.path.lexists(place / sub)]
                if not missing or (name != INBOX and self._is_mailbox(str(place))):
                    raise MailboxExists
                if len(missing) == len(SUBDIRECTORIES):
                    _remove_leavings(place)
                self._fill(place, missing)  # a level becomes a mailbox
                return place
            if os.path.lexists(place):
                raise CannotDo("Something that is no mailbox has that name")
            self._make_levels(place.parent)
            building = self.root / tree.trash(self.root)
            make_directory(building, os.stat(self.root))
            self._fill(building, SUBDIRECTORIES)
            tree.carry_out(self.root, [self._move(building, place)])
            return place

    def remove(self, name: str) -> None:
        """The mailbox is gone at once; its files are deleted before this returns, or by `clean_up`
        if that is cut off. Inferior mailboxes stay. Raises MailboxNotFound, InUse."""
        if name == INBOX:
            raise CannotDo("INBOX cannot be deleted")
        with self._changing():
            directory = self.find(name)
            trash = self.root / tree.trash(self.root)
            tree.carry_out(self.root, self._moves_to_remove(directory, trash))
        tree.delete(trash)

    def rename(self, name: str, new_name: str) -> list[tuple[Path, Path]]:
        """Rename it with all inferior names; each mailbox's old and new directory is returned.

        All of it or nothing, also after a crash. `name` may be only a level above others. Raises
        MailboxNotFound, MailboxExists, CannotDo, InUse.
        """
        below = name + DELIMITER
        if name == INBOX or new_name.startswith(below):
            raise CannotDo("INBOX stays, and no mailbox becomes its own inferior")
        with self._changing():
            found = self.places()
            moved = {
                old: new_name + old[len(name) :]
                for old in found
                if old == name or old.startswith(below)
            }
            if not moved:
                raise MailboxNotFound
            taken = found.keys() - (moved.keys() if new_name != name else set())
            if not taken.isdisjoint(moved.values()):
                raise MailboxExists
            for new in moved.values():
                self.path(new)
            for old in moved:
                _wait_until_free(found[old])
            return self._rename(name, new_name, {found[old]: new for old, new in moved.items()})

    def clean_up(self) -> None:
        """Finish what a crash cut off, and delete what it left. To be called when an account is
        opened; two look-ups when there is nothing. What it cannot do, it logs."""
        try:
            if tree.is_clean(self.root):
                return
            with self._changing():
                found = tree.collect_trash(self.root)
        except (OSError, BackendError) as error:
            log.warning("%s: cannot be cleaned up: %s", self.root, error)
            return
        for path in found:
            tree.delete(path)

    @abstractmethod
    def _moves_to_remove(self, directory: Path, trash: Path) -> list[Move]: ...

    @abstractmethod
    def _rename(self, name: str, new_name: str, moved: dict[Path, str]) -> list[tuple[Path, Path]]:
        """Move mailboxes to their new names, none of which is a mailbox. Raises as `rename`."""

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with tree.lock_tree(self.root):
            tree.finish(self.root)
            yield

    def _move(self, old: Path, new: Path) -> Move:
        """Of what is there."""
        return Move(self._relative(old), self._relative(new), os.lstat(old).st_ino)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _fill(self, directory: Path, missing: Iterable[str]) -> None:
        about = os.stat(self.root)
        for sub in missing:
            make_directory(directory / sub, about)
        tree.sync(directory)

    def _make_levels(self, directory: Path) -> None:
        if directory == self.root or is_directory(directory):
            return
        self._make_levels(directory.parent)
        try:
            make_directory(directory, os.stat(self.root))
        except FileExistsError:
            raise CannotDo("Something that is no mailbox has the name of a level") from None
        tree.sync(directory.parent)


class MaildirPlusPlus(Layout):
    """``.Work.2024``: all folders are beside one another in the root."""

    separator = "."

    def _encode(self, level: str, first: bool) -> str:
        if "." in level:
            raise CannotDo("A mailbox name cannot have a dot here")
        return super()._encode(level, first)

    def _join(self, levels: list[str]) -> str:
        return "".join(f".{level}" for level in levels)

    def _scan(self) -> dict[str, str]:
        spelled = []
        budget = self._budget()
        for raw in self._folders(str(self.root), budget):
            with suppress(ValueError, CannotDo):
                name, path = self._name(raw), f"{self.root}/{raw}"
                if self._is_mailbox(path):
                    spelled.append((name, path))
        self._check_budget(budget)
        return _in_nfc(spelled)

    def _name(self, raw: str) -> str:
        """Raises ValueError or CannotDo if it is not that of a folder."""
        before, *levels = raw.split(".")
        name = DELIMITER.join(self._decode(level, not at) for at, level in enumerate(levels))
        if before or not levels or name == INBOX or len(levels) > self._limits.mailbox_levels:
            raise ValueError("not a folder")
        return name

    def _place(self, name: str) -> Path:
        path = self.path(name)
        if name.isascii() or self._is_reachable(path):
            return path
        return Path(self._scan().get(name, path))

    def _is_mailbox(self, directory: str) -> bool:
        kinds = [_kind(f"{directory}/{sub}") for sub in SUBDIRECTORIES]
        return "directory" in kinds and "other" not in kinds

    def _fill(self, directory: Path, missing: Iterable[str]) -> None:
        if directory != self.root:  # tells a delivery agent that INBOX and its quota are above
            mode = os.stat(self.root).st_mode & 0o666
            fd = os.open(directory / "maildirfolder", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
            os.close(fd)
        super()._fill(directory, missing)

    def _moves_to_remove(self, directory: Path, trash: Path) -> list[Move]:
        return [self._move(directory, trash)]

    def _rename(self, name: str, new_name: str, moved: dict[Path, str]) -> list[tuple[Path, Path]]:
        # The shorter go first: when a/b becomes a, and a/b/b becomes a/b, that must be free.
        pairs = sorted(
            ((old, self.path(new)) for old, new in moved.items()), key=lambda p: len(p[0].name)
        )
        if any(os.path.lexists(new) and new not in moved for _, new in pairs):
            raise MailboxExists("Something that is no mailbox has that name")
        tree.carry_out(self.root, [self._move(old, new) for old, new in pairs])
        return pairs


class Fs(Layout):
    """``Work/2024``: inferior mailboxes are in the directory of the superior one."""

    separator = "/"

    def _encode(self, level: str, first: bool) -> str:
        if level in (".", "..", *SUBDIRECTORIES) or _OUR_FILE.fullmatch(level):
            raise CannotDo("A mailbox cannot have that name here")
        return super()._encode(level, first)

    def _join(self, levels: list[str]) -> str:
        return "/".join(levels)

    def growing(self) -> list[Path]:
        return [self.root, *(Path(path) for _, path, alias in self._walk() if not alias)]

    def _scan(self) -> dict[str, str]:
        return {
            name: path for name, path, _ in self._walk() if name != INBOX and self._is_mailbox(path)
        }

    def _walk(self) -> Iterator[tuple[str, str, bool]]:
        """All levels, mailboxes or not: name, directory, and whether that is a link."""
        budget = self._budget()
        waiting = [("", str(self.root))]
        while waiting:  # a stack of our own: how deep a tree is, is not for us to say
            above, directory = waiting.pop()
            aliases = self._folders(directory, budget)
            for level, raw in self._levels(aliases, first=not above).items():
                name, path = f"{above}{level}", f"{directory}/{raw}"
                yield name, path, aliases[raw]
                if not aliases[raw] and name.count(DELIMITER) + 1 < self._limits.mailbox_levels:
                    waiting.append((f"{name}{DELIMITER}", path))
        self._check_budget(budget)

    def _levels(self, folders: Iterable[str], first: bool) -> dict[str, str]:
        """Levels of hierarchy in NFC, and which of the directories is each."""
        spelled = []
        for raw in folders:
            if raw not in SUBDIRECTORIES:
                with suppress(ValueError, CannotDo):
                    spelled.append((self._decode(raw, first), raw))
        return _in_nfc(spelled)

    def _place(self, name: str) -> Path:
        place = self.path(name)
        if name.isascii() or self._is_reachable(place):
            return place
        place = self.root
        for at, level in enumerate(name.split(DELIMITER)):
            raw = self._encode(level, not at)
            if not level.isascii():
                folders = self._folders(str(place), self._budget())
                raw = self._levels(folders, not at).get(level, raw)
            place /= raw
        return place

    def _is_mailbox(self, directory: str) -> bool:
        kinds = {sub: _kind(f"{directory}/{sub}") for sub in SUBDIRECTORIES}
        return kinds["cur"] == "directory" and "other" not in kinds.values()

    def _moves_to_remove(self, directory: Path, trash: Path) -> list[Move]:
        if not directory.is_symlink():
            with os.scandir(directory) as entries:
                own = [e.name for e in entries if e.name in SUBDIRECTORIES or not e.is_dir()]
            if len(own) < len(os.listdir(directory)):
                make_directory(trash, os.stat(self.root))
                own.sort(key=_when_to_leave)
                return [self._move(directory / name, trash / name) for name in own]
        return [self._move(directory, trash)]

    def _rename(self, name: str, new_name: str, moved: dict[Path, str]) -> list[tuple[Path, Path]]:
        source, target = self._place(name), self._place(new_name)
        pairs = [(old, target / old.relative_to(source)) for old in moved]
        if not os.path.lexists(target):
            self._make_levels(target.parent)
        elif not is_directory(target):
            raise MailboxExists("Something that is no mailbox has that name")
        elif os.listdir(target):
            self._merge(source, target)
            return pairs
        tree.carry_out(self.root, [self._move(source, target)])
        return pairs

    def _merge(self, source: Path, target: Path) -> None:
        """Rename to a level that has others below. `source` may be one of them: it goes out of the
        way first."""
        staged = self.root / tree.moving(self.root)
        inner = list(self._merge_moves(source, target, source, staged))
        if not any(os.path.lexists(target / sub) for sub in SUBDIRECTORIES):
            _remove_leavings(target)
        tree.carry_out(self.root, [self._move(source, staged), *inner])
        for name in os.listdir(staged):  # made by others after we had looked
            if not is_directory(staged / name):
                os.rename(staged / name, target / name)
        tree.prune(staged)

    def _merge_moves(self, old: Path, new: Path, source: Path, staged: Path) -> Iterator[Move]:
        """Of all that is in `old`, which lies in `staged` by then, into the directory `new`."""
        if len(self._relative(new).split("/")) > self._limits.mailbox_levels:
            raise CannotDo("The directories are too deep")
        for name in sorted(os.listdir(old), key=_when_to_come):
            place = new / name
            if place != source and os.path.lexists(place) and is_directory(old / name):
                if not is_directory(place) or (name in SUBDIRECTORIES and os.listdir(place)):
                    raise MailboxExists("Something that is no mailbox has that name")
                if name not in SUBDIRECTORIES:
                    yield from self._merge_moves(old / name, place, source, staged / name)
                    continue
            yield Move(self._relative(staged / name), self._relative(place), 0)


LAYOUTS: dict[str, type[Layout]] = {"++": MaildirPlusPlus, "fs": Fs}


def _in_nfc(spelled: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names as they are spelled on disk, with their directories -> in NFC (rule 2)."""
    found: dict[str, tuple[bool, str, str]] = {}
    for name, raw in spelled:
        normal = name if name.isascii() else unicodedata.normalize("NFC", name)
        this = (normal != name, name, raw)
        found[normal] = min(this, found.get(normal, this))
    return {name: raw for name, (_, _, raw) in found.items()}


def _kind(path: str) -> str:
    try:
        return "directory" if stat.S_ISDIR(os.lstat(path).st_mode) else "other"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except PermissionError:
        # Opening it will say what is wrong. A client forgets a mailbox that is not listed.
        return "directory"


def _when_to_leave(name: str) -> int:
    """Without tmp Dovecot cannot open a mailbox, and with cur it goes from all lists. Not before
    that may it lose the rest, nor a new one get it."""
    return ("tmp", "cur", "new").index(name) if name in SUBDIRECTORIES else len(SUBDIRECTORIES)


def _when_to_come(name: str) -> int:
    return -_when_to_leave(name)


def _wait_until_free(mailbox: Path) -> None:
    """Let those finish who have its lock: a lock file that moves along, they would not find again,
    and nobody could take it over while they live. Raises InUse."""
    uidlist = mailbox / "dovecot-uidlist"
    if os.path.lexists(f"{uidlist}.lock"):
        with dotlock(uidlist):
            pass


def _remove_leavings(level: Path) -> None:
    """Where no messages are, what is known of them is of a mailbox that was: its UIDs, its identity
    and its properties must not be those of a new one."""
    for name in os.listdir(level):
        if name.startswith((*_DOVECOT_OF_MAILBOX, *OF_MAILBOX)) and not is_directory(level / name):
            os.unlink(level / name)


def _make_root(root: Path) -> None:
    if root.is_dir():
        return
    if not root.parent.is_dir():
        _make_root(root.parent)
    with suppress(FileExistsError):
        root.mkdir(0o700)
    tree.sync(root.parent)
