"""One client's session: commands in, responses out.

A handler is a coroutine `(session, command) -> Done` in the file of its command group; it writes
untagged responses with `session.send` and raises what cannot be done. `execute` is the one place
where errors become answers, where news of the mailbox is told, and where the tagged response is
written.

    BadCommand      the client spoke badly          BAD
    Refused         well said, but not to be done   NO with its code
    BackendError    the store cannot do it          NO with its code
    anything else   we have a bug                   logged, NO [SERVERBUG]
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pymap.auth.authenticator import Authenticator, Login
from pymap.auth.channel import Channel
from pymap.backend.api import Account, Backend, Mailbox
from pymap.backend.errors import FAULTS, BackendError, MailboxGone
from pymap.backend.opened import OpenMailboxes
from pymap.backend.quota import Quotas
from pymap.backend.watched import Annotated, WatchedAccounts
from pymap.config import ExtensionConfig
from pymap.imap.columns import flag_lines
from pymap.imap.guarded import Guarded
from pymap.imap.languages import Language
from pymap.imap.offered import offered
from pymap.imap.progress import Progress
from pymap.imap.referrals import mailbox_referral
from pymap.imap.sharing import Place, SharedAccount, enter_account
from pymap.imap.view import MailboxView, News, Slices, spans
from pymap.limits import Limits
from pymap.observer import Observer
from pymap.wire import responses as r
from pymap.wire.commands import Command, Select
from pymap.wire.connection import BadEvent, Connection, Ready, State
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.types import NO_UIDS, UidSet, swap_delimiter

if TYPE_CHECKING:
    from pymap.imap.notified import Notified

__all__ = ["THREAD", "Disconnect", "Done", "Handler", "Peer", "Session", "uid_required"]

log = logging.getLogger("pymap.session")

THREAD = 32 * 1024
"""Octets of a message, or of its header, from which it is taken apart off the event loop."""


class Done(NamedTuple):
    """How a command ended well: the tagged OK's text and response code."""

    text: str
    code: str | None = None


class Disconnect(Exception):
    """The session ends; its handler has said all there is to say. `result` is how its last command
    has ended."""

    def __init__(self, result: r.Condition = r.Condition.OK) -> None:
        super().__init__()
        self.result = result


class Peer(Protocol):
    """What a handler needs from the outside besides the backend."""

    @property
    def id(self) -> int:
        """A number for the session, given once in the life of a server."""

    @property
    def name(self) -> str:
        """Who this is, for the log."""

    @property
    def channel(self) -> Channel:
        """The connection, as far as logging in depends on it."""

    @property
    def can_start_tls(self) -> bool: ...

    @property
    def observers(self) -> Sequence[Observer]: ...

    def write(self, octets: bytes | memoryview) -> None:
        """Send; what is written during one batch of commands leaves together."""

    async def breathe(self) -> None:
        """Send what was written, wait while the client does not read, let others run."""

    async def line(self) -> bytes | None:
        """The next line as it stands, or None if `wake` was called since."""

    def wake(self) -> None: ...

    async def start_tls(self) -> None: ...

    @property
    def compresses(self) -> bool: ...

    def start_compression(self) -> None:
        """Behind what was written, all is compressed, in both directions."""

    def end_compression(self) -> None:
        """Behind what was written, nothing is."""

    def admit(self, user: str) -> None:
        """Somebody has logged in as this user: the time allowed for it no longer counts, another
        session of the user does. Raises Refused if it is one too many."""

    def dismiss(self) -> None:
        """The user is gone, and the connection a stranger's again."""


def uid_required() -> BadCommand:
    """What a sequence number gets after ENABLE UIDONLY.   RFC 9586 3"""
    return BadCommand("Message numbers after ENABLE UIDONLY", "UIDREQUIRED")


Handler = Callable[["Session", Any], Awaitable[Done | None]]
"""None: the handler has sent the tagged response itself."""


class Session:
    """The state of one client, and the execution of its commands."""

    __slots__ = (
        "_account_manager", "account", "authenticated_as", "authenticator", "backend",
        "bad_commands", "commands", "connection", "enabled", "extensions", "failed_logins",
        "handlers", "language", "limits", "mailbox_name", "notified", "offered", "open_mailboxes",
        "peer", "progress", "quotas", "running", "running_tag", "user", "view", "watched_accounts",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        peer: Peer,
        backend: Backend,
        authenticator: Authenticator,
        open_mailboxes: OpenMailboxes,
        watched_accounts: WatchedAccounts,
        handlers: dict[type[Command], Handler],
        extensions: ExtensionConfig,
        quotas: Quotas,
    ) -> None:
        self.connection = connection
        self.limits: Limits = connection.limits
        self.peer = peer
        self.backend = backend
        self.authenticator = authenticator
        self.open_mailboxes = open_mailboxes
        self.watched_accounts = watched_accounts
        self.handlers = handlers
        self.extensions = extensions
        has_properties = backend.properties("server") is not None
        self.offered = offered(extensions, has_properties, self.limits.append)
        self.quotas = quotas
        self.user: str | None = None  # whose account it is
        self.authenticated_as: str | None = None
        self.account: Account | None = None
        self._account_manager: AbstractAsyncContextManager[Account] | None = None
        self.view: MailboxView | None = None
        self.mailbox_name = ""  # by which the view was selected
        self.notified: Notified | None = None  # until NOTIFY is used, news is told as RFC 9051 says
        self.enabled: frozenset[str] = frozenset()
        self.language: Language | None = None  # of texts, if it was asked for
        self.commands = 0
        self.bad_commands = 0  # in a row
        self.failed_logins = 0
        self.running: type[Command] | None = None
        self.running_tag: str | None = None  # of a command that tells of its progress
        self.progress = Progress()

    # -- what is switched on --

    @property
    def rev2(self) -> bool:
        return "IMAP4REV2" in self.enabled

    @property
    def acting(self) -> str | None:
        """Who has logged in, if it is not the user whose account it is: a master."""
        return None if self.authenticated_as == self.user else self.authenticated_as

    @property
    def condstore(self) -> bool:
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        return "QRESYNC" in self.enabled

    @property
    def uid_only(self) -> bool:
        return "UIDONLY" in self.enabled

    def enable(self, *names: str) -> None:
        """Switch extensions on; QRESYNC brings CONDSTORE (RFC 7162 3.2.3)."""
        knew_condstore = self.condstore
        self.enabled = self.enabled.union(names, ("CONDSTORE",) if "QRESYNC" in names else ())
        if self.condstore and not knew_condstore and self.view is not None:
            # The first command that enables it tells where the mailbox is. RFC 7162 3.1
            code = f"HIGHESTMODSEQ {self.view.told}"
            self.send(r.Untagged(r.Condition.OK, "Highest modseq", code))
        if self.view is not None:
            self.view.uid_only = self.uid_only
            if self.rev2:
                self.view.recent = NO_UIDS  # RFC 9051 has no \\Recent
        if not self.enabled.isdisjoint(("UTF8=ACCEPT", "IMAP4REV2")):
            self.connection.utf8 = True

    def capabilities(self) -> list[str]:
        """What may be announced now.   RFC 9051 6.1.1, 7.2.2"""
        if self.connection.state is not State.NOT_AUTHENTICATED:
            return list(self.offered.after_login)
        names = list(self.offered.before_login)
        if self.peer.can_start_tls:
            names.append("STARTTLS")
        channel = self.peer.channel
        names += [f"AUTH={name}" for name in self.authenticator.mechanisms(channel)]
        if not self.authenticator.takes_passwords(channel):
            names.append("LOGINDISABLED")
        return names

    def require(self, name: str) -> None:
        """Raises BadCommand unless the extension of that name is offered here."""
        if name not in self.offered.names:
            raise BadCommand(f"{name} is not available")

    def refer(self, command: Command) -> None:
        """Raises Refused if it names a mailbox on another server. SELECT does so itself, for it
        leaves the selected mailbox all the same."""
        if self.extensions.mailbox_referrals and self.user is not None:
            if refused := mailbox_referral(self.extensions, self.user, command):
                raise refused

    @property
    def url_mechanisms(self) -> str | None:
        """The response code URLMECH. Not where others can listen: mechanisms may have data with
        it, INTERNAL has none.   RFC 4467 8, 10"""
        private = self.peer.channel.private
        return "URLMECH INTERNAL" if private and "URLAUTH" in self.offered.names else None

    @property
    def delimiter(self) -> str:
        return self.connection.delimiter

    def shown(self, name: str) -> str:
        """The name of a mailbox as this client knows it."""
        return swap_delimiter(name, self.connection.delimiter)

    # -- logging in --

    async def enter(self, login: Login) -> None:
        """Open the account; from here on the session is authenticated. Raises Refused if the user
        has too many sessions."""
        manager = enter_account(self.backend, login.user, self.limits)
        account = await manager.__aenter__()
        try:
            self.peer.admit(login.user)
        except Refused:
            await manager.__aexit__(None, None, None)
            raise
        self.account, self._account_manager = account, manager
        self.user, self.authenticated_as = login
        self.connection.state = State.AUTHENTICATED

    async def leave(self) -> None:
        """The user goes, the connection stays, and knows nothing of it.   RFC 8437 4"""
        await self.close()
        self.account = self.user = self.authenticated_as = None
        self.mailbox_name = ""
        self.enabled = frozenset()
        self.language = None
        self.connection.utf8 = False
        self.connection.state = State.NOT_AUTHENTICATED
        self.peer.dismiss()

    def authenticated(self) -> Account:
        """The account; the state machine has checked that there is one."""
        assert self.account is not None
        return self.account

    async def place(self, name: str) -> Place:
        """Whose mailbox a name is, and by what name it is in that account; whether or not it
        exists, and whatever this user may do with it. Raises MailboxNotFound."""
        if isinstance(self.account, SharedAccount):
            return await self.account.place(name)
        return Place(self.user or "", self.authenticated(), name, name)

    async def owner(self, name: str) -> Account:
        """The account that a mailbox of that name counts for. Raises MailboxNotFound."""
        return (await self.place(name)).account

    def owns_selected(self, owner: Account) -> bool:
        """Whether the selected mailbox counts for that account, so that moving its messages adds
        nothing there. Names do not tell: what they meant may be shared no longer."""
        mailbox, account = self.selected().mailbox, self.account
        if isinstance(mailbox, Guarded):
            return mailbox.account is owner
        return owner is (account.own if isinstance(account, SharedAccount) else account)

    def sharing(self) -> SharedAccount:
        """The same, where ACL is offered: `require` has said so."""
        assert isinstance(self.account, SharedAccount)
        return self.account

    def selected(self) -> MailboxView:
        """The view; the state machine has checked that a mailbox is selected."""
        assert self.view is not None
        return self.view

    def deselect(self) -> None:
        self.view = None
        if self.connection.state is State.SELECTED:
            self.connection.state = State.AUTHENTICATED

    async def close(self) -> None:
        """Leave the account, however the session ended."""
        self.view = None
        notified, self.notified = self.notified, None
        manager, self._account_manager = self._account_manager, None
        try:
            if notified is not None:
                await notified.close()
        finally:
            if manager is not None:
                await manager.__aexit__(None, None, None)

    # -- saying things --

    def send(self, response: r.Response) -> None:
        if self.language is not None and isinstance(response, r.Tagged):
            response = replace(response, text=self.language.say(response.text))
        self.peer.write(response.encode(self.connection.utf8))

    def prompt(self, text: str) -> None:
        """Ask for more of the command, or of what follows it."""
        said = text if self.language is None else self.language.say(text)
        self.send(r.Continuation(said.encode()))

    def greet(self, host: str) -> None:
        code = f"CAPABILITY {' '.join(self.capabilities())}"
        self.send(r.Untagged(r.Condition.OK, f"Server ready {host}", code))

    def bye(self, text: str, code: str | None = None) -> None:
        self.connection.state = State.LOGOUT
        self.send(r.Untagged(r.Condition.BYE, text, code))

    # -- carrying out --

    async def execute(self, ready: Ready) -> None:
        """Carry out one command. Raises Disconnect when the session is over."""
        command, spec = ready.command, ready.spec
        began = perf_counter()
        self.running = type(command)
        by_uid = getattr(command, "by_uid", None)
        if spec.tells_progress:
            self.running_tag, self.progress = command.tag, Progress()
        try:
            if by_uid is False and self.uid_only:
                raise uid_required()
            if not isinstance(command, Select):
                self.refer(command)
            done = await self.handlers[type(command)](self, command)
            if done is None:
                self._note(type(command), r.Condition.OK, began)
                return
            answer = r.Tagged(command.tag, r.Condition.OK, done.text, done.code)
            self.bad_commands = 0
        except Disconnect as end:
            self._note(type(command), end.result, began)
            raise
        except Exception as error:
            try:
                answer = self._failure(command.tag, error, type(command).__name__)
            except Disconnect as end:
                self._note(type(command), end.result, began)
                raise
        if self.view is not None:
            # EXPUNGE must not be sent while answering FETCH, STORE, SEARCH: the client's
            # sequence numbers would move under it. The UID forms may.   RFC 9051 7.5.1
            try:
                await self.tell(may_expunge=bool(by_uid) or not spec.holds_expunges)
            except BackendError as error:
                # What was done is done and has to be answered; the news waits for the store.
                log.warning("%s: no news of the mailbox: %s", self.peer.name, error)
            except Disconnect:
                self.send(answer)
                raise
        if self.notified is not None:
            await self.notified.after_command()
        self.send(answer)
        self._note(type(command), answer.condition, began)

    def _note(self, command: type[Command] | None, result: r.Condition, began: float) -> None:
        """A command has been carried out."""
        self.running = self.running_tag = None
        self.commands += 1
        debug = log.isEnabledFor(logging.DEBUG)
        if not debug and not self.peer.observers:
            return
        seconds = perf_counter() - began
        name = "?" if command is None else command.__name__.upper()
        outcome = result.value.decode("ascii").lower()
        for observer in self.peer.observers:
            observer.commanded(name, outcome, seconds)
        if debug:
            fields = {"session": self.peer.id, "command": name, "result": outcome,
                      "seconds": round(seconds, 6)}  # fmt: skip
            log.debug("%s: %s %s in %.3f ms", self.peer.name, name, outcome, seconds * 1000,
                      extra={"fields": fields})  # fmt: skip

    def tell_progress(self) -> bool:
        """Say that the command that runs is still at it; False if it is none that does so. The peer
        calls this now and then, while it does not read on.   RFC 9585 4"""
        tag = self.running_tag
        if tag is None:
            return False
        # A tag may hold a bracket, and clients look for that as the end of the code.
        code = "INPROGRESS" if "]" in tag else f'INPROGRESS ("{tag}" {self.progress})'
        self.send(r.Untagged(r.Condition.OK, "Still working", code))
        return True

    def fail(self, bad: BadEvent) -> None:
        """Answer a command that never reached its handler."""
        try:
            answer = self._failure(bad.tag, bad.error, "a command")
        except Disconnect as end:
            self._note(None, end.result, perf_counter())
            raise
        self.send(answer)
        self._note(None, answer.condition, perf_counter())

    def _failure(self, tag: str, error: Exception, name: str) -> r.Tagged:
        match error:
            case BadCommand():
                self.bad_commands += 1
                answer = r.Tagged(tag, r.Condition.BAD, str(error), error.code)
                if self.bad_commands >= self.limits.bad_commands:
                    self.send(answer)
                    self.bye("Too many bad commands")
                    raise Disconnect(r.Condition.BAD)
                return answer
            case Refused():
                if error.empties_result and self.view is not None:
                    self.view.saved = NO_UIDS
                return r.Tagged(tag, r.Condition.NO, str(error), error.code)
            case BackendError():
                if error.code in FAULTS:
                    self._tell_of_fault(error.code)
                return r.Tagged(tag, r.Condition.NO, str(error), error.code)
        log.error("%s: %s failed", self.peer.name, name, exc_info=error)
        self._tell_of_fault("SERVERBUG")
        return r.Tagged(tag, r.Condition.NO, "Internal error", "SERVERBUG")

    def _tell_of_fault(self, code: str) -> None:
        for observer in self.peer.observers:
            observer.backend_failed(code)

    def did(self, *names: str) -> None:
        """A command of this client has changed something about these names."""
        if self.notified is not None:
            self.notified.own_names.update(names)

    def brought(self, target: Mailbox, uids: UidSet) -> None:
        """A command of this client has brought messages into a mailbox."""
        if self.notified is not None:
            self.notified.own_messages[target.id] = uids

    def annotated(self, mailbox: Mailbox | None, entries: Iterable[str]) -> None:
        """A command of this client has changed annotations of a mailbox, or of the server."""
        mailbox_id = None if mailbox is None else mailbox.id
        change = Annotated(self, self.user or "", mailbox_id, tuple(entries))
        self.watched_accounts.annotated(change)

    async def pause_after(self, ranges: int) -> None:
        """Let others have their turn behind a step over a set of so many ranges, if that took
        long. The client's numbers hold: only `tell` moves them."""
        if ranges > 10_000:
            await self.peer.breathe()

    # -- news of the selected mailbox --

    async def tell(self, may_expunge: bool, always: bool = False) -> None:
        """Tell what happened in the selected mailbox since it was last told; a client that wants
        no news of it, if `always`."""
        view, notified = self.selected(), self.notified
        self.running_tag = None  # what is told may come in pieces: INPROGRESS must not stand in it
        try:
            await view.opened.sync()
        except MailboxGone as error:
            # The client's mailbox no longer exists, and there is no response that takes a
            # selected client back to the authenticated state.   RFC 2180 3.3
            self.bye(str(error))
            raise Disconnect from error
        rekeyed = view.opened.rekeyed
        if rekeyed and view.rekeyed != rekeyed.get(self.user or "", 0):
            view.rekeyed = rekeyed.get(self.user or "", 0)
            if self.url_mechanisms is not None:
                self.send(r.Untagged(r.Condition.OK, "New key", self.url_mechanisms))
        if notified is not None and not notified.selected.messages and not always:
            return
        contexts = view.contexts
        if contexts is not None:
            await contexts.remove_gone()
        first = view.uid_next
        news = view.news(may_expunge)
        if news is not None:
            await self._tell_news(view, news)
        try:
            if contexts is not None:
                await contexts.update()
        finally:
            # Behind any ADDTO.   RFC 5465 5.2
            if notified is not None and news is not None and news.exists is not None:
                await notified.send_new(view, first)

    async def _tell_news(self, view: MailboxView, news: News) -> None:
        notified = self.notified
        if news.exists is not None and not self.rev2:
            # From here on the view takes the news as told: nothing may keep it from being sent.
            try:
                view.recent |= await view.mailbox.claim_recent(peek=view.readonly)
            except BackendError as error:
                log.warning("%s: no recent messages: %s", self.peer.name, error)
        if notified is not None and notified.selected.messages and not notified.selected.flags:
            news = news._replace(changed=[])
        self._send_news(view, news)

    async def push(self, may_expunge: bool = False) -> None:
        """Tell all that is new, while no command runs or IDLE does; there EXPUNGE may be sent."""
        notified = self.notified
        try:
            if self.view is not None:
                now = notified is not None and not notified.selected.delayed
                await self.tell(may_expunge or now)
        except BackendError as error:
            log.debug("%s: no news of the mailbox: %s", self.peer.name, error)
            if notified is not None:  # else the next wake-up tells all
                notified.try_again()
        if notified is not None:
            await notified.tell()

    def _send_news(self, view: MailboxView, news: News) -> None:
        if news.vanished:
            if self.qresync or self.uid_only:
                self.send(r.Vanished(news.vanished))
            else:
                self.send(r.Expunge(news.expunged))
        if news.exists is not None:
            self.send(r.Exists(news.exists))
            if not self.rev2:
                self.send(r.Recent(view.recent_count))
        self.send_keywords(view)
        if news.changed:
            self.send_flags(view, news.changed)

    def send_keywords(self, view: MailboxView) -> None:
        """FLAGS, if there are keywords that this client has not heard of."""
        keywords = view.index.flags.keywords
        if len(keywords) > view.keywords:
            view.keywords = len(keywords)
            self.send(r.Flags(view.index.flags.known()))

    def send_flags(self, view: MailboxView, slices: Slices) -> None:
        """Unsolicited FETCH responses: UID is told with QRESYNC (RFC 7162 3.2.4), after NOTIFY
        (RFC 5465 5.1), and always when IMAP4rev2 is enabled; MODSEQ after CONDSTORE (RFC 7162
        3.1.2)."""
        uid = self.qresync or self.rev2 or self.notified is not None
        for start, stop in spans(slices, 1000):
            batch = view.batch(start, stop)
            self.peer.write(flag_lines(view, batch, uid, self.condstore))
