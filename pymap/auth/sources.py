"""Where tokens, keys and what is said of them come from: a server that is asked, a file that may
change.

Rule 1: a server is asked over TLS and its certificate is checked; in the clear only on loopback. A
        redirect is not followed: it would take the token, or the trust in the keys, elsewhere.
Rule 2: what a server says has a bound in octets and in time, and so has the number of questions.
Rule 3: what can no longer be read goes on to count, and the log says so once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

__all__ = ["LARGEST", "FileSource", "ServerSource", "TokenUnavailable", "json_object"]

log = logging.getLogger("pymap.tokens")

LARGEST = 1024 * 1024  # octets of an answer or a file
TIMEOUT_S = 10.0
THREADS = 4
WAITING = 200  # questions that have no answer yet

_T = TypeVar("_T")


class TokenUnavailable(Exception):
    """Whoever knows about tokens cannot be asked now. The text is for the operator."""


def json_object(octets: bytes) -> dict[str, Any]:
    """Raises ValueError, which tells nothing of what was found."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and the like are not JSON

    try:
        found = json.loads(octets, parse_constant=refuse)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


class ServerSource:
    """A URL, asked in threads of its own. Raises ValueError for one that must not be trusted."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self.host = parts.hostname or ""
            good = parts.scheme in ("https", "http") and url.isascii() and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good or not self.host:
            raise ValueError("expected a URL that begins with https://")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"{self.host}: the URL must not hold a password")
        if parts.scheme == "http" and not _is_loopback(self.host):
            raise ValueError(f"{self.host}: without TLS tokens are not safe, expected https://")
        self._url = url
        self._opener: OpenerDirector | None = None
        self._turns = asyncio.Semaphore(THREADS)
        self._waiting = 0
        self._away = False  # as far as the log has said

    async def ask(
        self,
        form: bytes | None,
        headers: dict[str, str],
        parse: Callable[[bytes], _T],
    ) -> _T:
        """What it answers to a POST of `form`, or to GET, taken apart by `parse`, which may raise
        ValueError. Raises TokenUnavailable."""
        if self._waiting >= WAITING:
            raise TokenUnavailable(f"{self.host}: too many questions at once")
        self._waiting += 1
        try:
            # A task of its own, for a login may be carried out without one.
            answer = await asyncio.get_running_loop().create_task(
                self._in_time(lambda: parse(self._ask(form, headers)))
            )
        except (OSError, ValueError) as error:
            text = f"{self.host}: {str(error) or f'no answer for {TIMEOUT_S:g} s'}"
            if not self._away:
                self._away = True
                log.error("asking about tokens: %s", text)
            raise TokenUnavailable(text) from error
        finally:
            self._waiting -= 1
        if self._away:
            self._away = False
            log.warning("asking about tokens: %s answers again", self.host)
        return answer

    async def _in_time(self, call: Callable[[], _T]) -> _T:
        async with asyncio.timeout(TIMEOUT_S):
            await self._turns.acquire()
            return await self._in_thread(call)

    def _in_thread(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """The turn that was taken is over when the call is, whoever still waits for it. A daemon,
        for the end of the process does not wait for an answer either."""
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[_T] = loop.create_future()

        def finish(answer: _T | None, error: Exception | None) -> None:
            self._turns.release()
            if asked.done():  # nobody waits any more
                return
            if error is None:
                asked.set_result(answer)  # type: ignore[arg-type]  # there is one
            else:
                asked.set_exception(error)

        def run() -> None:
            answer, error = None, None
            try:
                answer = call()
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(finish, answer, error)

        try:
            threading.Thread(target=run, name="tokens", daemon=True).start()
        except RuntimeError as error:  # there are too many
            self._turns.release()
            raise OSError(str(error)) from error
        return asked

    # -- in a thread --

    def _ask(self, form: bytes | None, headers: dict[str, str]) -> bytes:
        """Raises OSError and ValueError."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        self._opener = opener = self._opener or _opener(_is_loopback(self.host))
        try:
            with opener.open(Request(self._url, form, headers), timeout=TIMEOUT_S) as response:
                octets: bytes = response.read(LARGEST + 1)
        except HTTPError as error:
            error.close()
            raise OSError(f"HTTP status {error.code}") from None
        except URLError as error:
            raise OSError(str(error.reason)) from None
        except HTTPException as error:
            raise OSError(f"not HTTP ({type(error).__name__})") from None
        if len(octets) > LARGEST:
            raise ValueError("the answer is too long")
        return octets


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _opener(loopback: bool) -> OpenerDirector:
    """To be kept: loading the certificates of all authorities takes some 20 ms."""
    from ssl import create_default_context
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, build_opener

    class Nowhere(HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    # What goes to this machine goes to no proxy.
    proxies = ProxyHandler({}) if loopback else ProxyHandler()
    return build_opener(Nowhere(), proxies, HTTPSHandler(context=create_default_context()))


class FileSource(Generic[_T]):
    """What a small file holds. It is read each time, which takes 0.1 ms, as no clock of a file
    system tells all changes; it is taken apart only if it is another than before."""

    def __init__(self, path: Path, parse: Callable[[bytes], _T]) -> None:
        """Raises OSError and ValueError."""
        self._path = path
        self._parse = parse
        self._known: tuple[bytes, _T] | None = None
        self._logged = ""
        self._value = self.read()

    def read(self) -> _T:
        """Raises OSError and ValueError, which names the file."""
        with self._path.open("rb") as file:
            octets = file.read(LARGEST + 1)
        if len(octets) > LARGEST:
            raise ValueError(f"{self._path}: too large")
        known = self._known
        if known is None or known[0] != octets:
            try:
                self._known = known = octets, self._parse(octets)
            except ValueError as error:
                raise ValueError(f"{self._path}: {error}") from None
        self._value = known[1]
        return self._value

    def current(self) -> _T:
        """As it is now; as it was, while it cannot be read or is wrong."""
        try:
            value = self.read()
            self._logged = ""
            return value
        except (OSError, ValueError) as error:
            if self._logged != (told := str(error)):
                self._logged = told
                log.error("%s; what was read before goes on to count", told)
            return self._value
