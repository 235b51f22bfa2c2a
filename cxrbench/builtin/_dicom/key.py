"""The secret key, and the pseudonyms that it makes of patients, images and files."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cxrbench import DataError

VARIABLE = "CXRBENCH_DICOM_KEY"
"""The environment variable that may hold the key itself."""

MIN_LENGTH = 32
"""Characters. Hospital numbers can be counted through: only a long random key protects them."""

_DIGITS = 20
_MAKE = "python3 -c 'import secrets; print(secrets.token_hex(32))'"


@dataclass(frozen=True)
class Key:
    """A key and the sentence that tells the user where it came from.

    The same key gives the same pseudonyms on every machine; without it nobody can test whether a
    pseudonym belongs to a patient.
    """

    secret: bytes = field(repr=False)
    origin: str

    def pseudonym(self, kind: str, text: str) -> str:
        """The first 20 hex digits of HMAC-SHA-256 (RFC 2104) of what ``text`` names.

        ``kind`` keeps apart what has the same text: a patient ``"1"`` and a file ``"1"``.
        """
        message = f"{kind}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:_DIGITS]

    @property
    def fingerprint(self) -> str:
        """Eight hex digits by which two people see that they have the same key."""
        return self.pseudonym("key", "fingerprint")[:8]


def default_file() -> Path:
    """Where a key is kept that nobody named: beside no data, no cache and no run.

    Raises
    ------
    DataError : the user has no home folder.
    """
    from platformdirs import user_config_path

    try:
        return user_config_path("cxrbench").expanduser() / "dicom.key"
    except RuntimeError as error:
        raise DataError(
            "the home folder, which contains the key for pseudonyms, is unknown",
            expected="HOME to be set, or a user with an entry in /etc/passwd",
            found=f"neither, for user id {os.getuid()}",
            fix=f"name a key file (--data dicom:key=FILE,…), or set {VARIABLE}",
        ) from error


def find_key(named: str) -> Key:
    """The key in the file ``named``, else in the variable, else in the user's own file.

    The last is made where it is missing. A file that was named is not: a slip of the pen would
    otherwise give the same patients other pseudonyms.

    Raises
    ------
    DataError : there is no such file, it cannot be read, others can read it, or it is too short.
    """
    if named:
        path = Path(named).expanduser()
        return Key(_read(path), f"the key in {path}")
    secret = os.environ.get(VARIABLE)
    if secret is not None:
        return Key(_checked(secret, f"${VARIABLE}"), f"the key in ${VARIABLE}")
    path = default_file()
    if _make(path):
        origin = f"a new key in {path}: keep a copy, because only this key gives the same ids"
        return Key(_read(path), origin)
    return Key(_read(path), f"the key in {path}")


def _make(path: Path) -> bool:
    """Make a key file unless there is one; whole or not at all, for its owner alone."""
    if os.path.lexists(path):
        return False
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(32).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(unfinished, path)  # unlike a rename, never over another process's key
        finally:
            os.unlink(unfinished)
    except FileExistsError:
        return False
    except OSError as error:
        raise DataError(
            f"cannot store a key for pseudonyms in {path}",
            expected="a folder that this user may write to",
            found=error.strerror or str(error),
            fix=f"name a key file (--data dicom:key=FILE,…), or set {VARIABLE}",
        ) from error
    return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(4096)
    except OSError as error:
        raise DataError(
            f"the key file {path} cannot be read",
            expected="the file with the key of the pseudonyms",
            found=error.strerror or str(error),
            fix=f"copy it from its original place, or make one: (umask 077; {_MAKE} > {path})",
        ) from error
    if mode & 0o077:
        raise DataError(
            f"others can read the key file {path}",
            expected="a file that only its owner can read (mode 600)",
            found=f"mode {mode:03o}",
            fix=f"chmod 600 {path}; if somebody may have read it, make a new one",
        )
    return _checked(data.decode("utf-8", "replace"), str(path))


def _checked(text: str, where: str) -> bytes:
    secret = text.strip()
    if len(secret) < MIN_LENGTH:
        raise DataError(
            f"the key in {where} is too short",
            expected=f"at least {MIN_LENGTH} characters, random ones",
            found=f"{len(secret)} characters",
            fix=f"make one: {_MAKE}",
        )
    return secret.encode()
