"""Certificates: which one a handshake gets, when files are read again, what is known afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from pymap.config import TlsConfig
from pymap.tls import Certificates, ChannelFacts, _hash, channel_facts

Run = Callable[[Coroutine[Any, Any, None]], None]
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in an event loop of each kind."""
    factory = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return run


# -- certificates and their files --


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def stranger() -> trustme.CA:
    """A CA that the server does not know."""
    return trustme.CA()


def chain(leaf: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


def fingerprint(pem: bytes | trustme.LeafCert) -> bytes:
    """SHA-256 of the first certificate, as tls-server-end-point is for all that trustme makes."""
    octets = chain(pem) if isinstance(pem, trustme.LeafCert) else pem
    return x509.load_pem_x509_certificate(octets).fingerprint(hashes.SHA256())


class Files:
    """Where an operator keeps certificates and keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, *contents: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(contents))
        return path

    def pair(self, name: str, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        key = self.put(f"{name}.key", leaf.private_key_pem.bytes())
        return self.put(f"{name}.pem", chain(leaf)), key

    def config(self, *leaves: trustme.LeafCert, **options: Any) -> TlsConfig:
        pairs = [self.pair(f"{n}", leaf) for n, leaf in enumerate(leaves)]
        certs, keys = zip(*pairs, strict=True)
        return TlsConfig(certs, keys, **options)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def trusting(authority: trustme.CA, *, check_name: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = check_name
    return context


# -- handshakes over a socket --


class Handshake(asyncio.Protocol):
    """The server's side of a connection: a word in the clear, TLS, then an echo."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.tasks.append(asyncio.ensure_future(self.begin(transport)))

    async def begin(self, transport: Any) -> None:
        """Until the connection is lost."""
        loop, context = asyncio.get_running_loop(), self.server.certificates.context
        transport.write(b"go\n")
        try:
            self.transport = await loop.start_tls(transport, self, context, server_side=True)
        except OSError as error:
            self.server.seen.put_nowait(error)
            transport.abort()
            return
        ssl_object = self.transport.get_extra_info("ssl_object")
        self.server.seen.put_nowait(channel_facts(ssl_object))
        self.transport.write(b"ready\n")
        await self.lost

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class Server:
    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.seen: asyncio.Queue[ChannelFacts | OSError] = asyncio.Queue()
        self.tasks: list[asyncio.Future[None]] = []
        self.port = 0

    async def facts(self) -> ChannelFacts:
        seen = await self.seen.get()
        assert isinstance(seen, ChannelFacts), seen
        return seen

    async def failed(self) -> None:
        assert isinstance(await self.seen.get(), OSError)


@asynccontextmanager
async def serving(certificates: Certificates) -> AsyncIterator[Server]:
    """Until all its clients have closed their connections."""
    server = Server(certificates)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Handshake(server), "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await asyncio.gather(*server.tasks)
        await listener.wait_closed()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    @property
    def met(self) -> bytes:
        return hashlib.sha256(self.peer).digest()

    async def echo(self, text: bytes) -> None:
        self.writer.write(text + b"\n")
        assert await self.reader.readline() == text + b"\n"


@asynccontextmanager
async def connected(
    server: Server, context: ssl.SSLContext, name: str = "localhost"
) -> AsyncIterator[Client]:
    """A client, once the server has said that it is ready; `name` is asked for unless empty.
    Raises OSError if it is turned away: with TLS 1.3, a client learns of that from its first read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        assert await reader.readline() == b"go\n"
        await writer.start_tls(context, server_hostname=name)
        if await reader.readline() != b"ready\n":
            raise ConnectionError
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def refused(server: Server, context: ssl.SSLContext) -> None:
    with pytest.raises(OSError):
        async with connected(server, context):
            pass
    await server.failed()


# -- by name --


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("mail.example.org", 0),
        ("mail.example.net", 1),
        ("imap.example.net", 1),  # the second of its names
        ("MAIL.Example.NET", 1),
        ("a.example.com", 2),  # a wildcard
        ("example.com", 0),  # which stands for one label, not for none
        ("a.b.example.com", 0),  # nor for two
        ("b.example.com", 1),  # of two that fit, the exact one
        ("localhost", 0),
        ("elsewhere.example", 0),  # a name that no certificate is for
        ("", 0),  # no name
    ],
)
def test_the_certificate_is_the_one_of_the_name(
    run: Run, files: Files, authority: trustme.CA, name: str, chosen: int
) -> None:
    leaves = [
        authority.issue_cert("mail.example.org"),
        authority.issue_cert("mail.example.net", "imap.example.net", "b.example.com"),
        authority.issue_cert("*.example.com"),
    ]
    certificates = Certificates(files.config(*leaves))

    async def scene() -> None:
        async with (
            serving(certificates) as server,
            connected(server, trusting(authority), name) as client,
        ):
            assert client.met == fingerprint(leaves[chosen])
            await client.echo(b"hello")
            assert await server.facts() == ((), fingerprint(leaves[chosen]), "TLSv1.3")

    run(scene())


def test_of_two_certificates_for_a_name_the_first_counts(
    run: Run, files: Files, authority: trustme.CA
) -> None:
    leaves = [authority.issue_cert(name) for name in ("a.example", "b.example", "b.example")]
    certificates = Certificates(files.config(*leaves))

    async def scene() -> None:
        async with (
            serving(certificates) as server,
            connected(server, trusting(authority, check_name=True), "b.example") as client,
        ):
            assert client.met == fingerprint(leaves[1])

    run(scene())


def test_an_address_is_no_name(run: Run, files: Files, authority: trustme.CA) -> None:
    leaf = authority.issue_cert("127.0.0.1")
    certificates = Certificates(files.config(leaf))

    async def scene() -> None:
        async with (
            serving(certificates) as server,
            connected(server, trusting(authority, check_name=True), "127.0.0.1") as client,
        ):
            assert client.met == fingerprint(leaf)

    run(scene())


def test_a_second_certificate_without_names_is_told_of(
    files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    Certificates(files.config(first, second))
    assert [record.getMessage() for record in caplog.records] == [
        f"{files.folder / '1.pem'}: names no host in subjectAltName, so it is never used"
    ]


# -- handshakes in memory --


def shake_hands(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    rewrite: Callable[[bytes], bytes] = bytes,
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Server's and client's side; `rewrite` changes the client's first octets on their way."""
    up, down, sent = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, sent, server_hostname="localhost", session=session)
    sides = [theirs, ours]
    while sides:
        for side in tuple(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                sides.remove(side)
            up.write(rewrite(sent.read()))
            rewrite = bytes
    with pytest.raises(ssl.SSLWantReadError):
        theirs.read(1)  # takes tickets in
    return ours, theirs


@pytest.mark.parametrize("names", [["localhost"], ["localhost", "a.example"]])
def test_a_name_that_is_no_text_harms_only_its_client(
    files: Files, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """Where there is a choice, Python decodes the name before it asks us, and tells
    `sys.unraisablehook` that it cannot. (As the client knows nothing of its name being changed,
    the handshake fails in any case.)"""
    told: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(what.exc_type))
    leaves = [authority.issue_cert(name) for name in names]
    context = Certificates(files.config(*leaves)).context
    with pytest.raises(ssl.SSLError):
        shake_hands(
            context,
            trusting(authority),
            rewrite=lambda octets: octets.replace(b"localhost", b"\xff" * 9),
        )
    assert told == [UnicodeDecodeError] * (len(names) - 1)
    ours, _ = shake_hands(context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(leaves[0])


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_nothing_is_old(files: Files, authority: trustme.CA, version: ssl.TLSVersion) -> None:
    context = Certificates(files.config(authority.issue_cert("localhost"))).context
    theirs = trusting(authority)
    theirs.minimum_version = theirs.maximum_version = version
    ours, theirs_object = shake_hands(context, theirs)
    name, _, bits = ours.cipher() or ("", "", 0)
    assert "GCM" in name or "CHACHA20" in name
    assert version is V1_3 or name.startswith("ECDHE-")
    assert bits >= 128
    assert ours.compression() is None
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not theirs_object.session.has_ticket


def test_ciphers_may_be_chosen(files: Files, authority: trustme.CA) -> None:
    wanted = "ECDHE-ECDSA-CHACHA20-POLY1305"
    config = files.config(authority.issue_cert("localhost"), ciphers=wanted)
    theirs = trusting(authority)
    theirs.maximum_version = V1_2
    ours, _ = shake_hands(Certificates(config).context, theirs)
    assert (ours.cipher() or ("",))[0] == wanted


def test_a_server_without_certificates_of_ours_has_no_end_point(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ours, _ = shake_hands(context, trusting(authority))
    assert channel_facts(ours) == ((), b"", "TLSv1.3")


# -- versions --


def test_tls_1_1_is_refused(run: Run, files: Files, authority: trustme.CA) -> None:
    certificates = Certificates(files.config(authority.issue_cert("localhost")))
    old = trusting(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    async def scene() -> None:
        async with serving(certificates) as server:
            await refused(server, old)
            async with connected(server, trusting(authority)) as client:
                await client.echo(b"the next one is served")

    run(scene())


def test_the_oldest_version_may_be_1_3(run: Run, files: Files, authority: trustme.CA) -> None:
    config = files.config(authority.issue_cert("localhost"), minimum="1.3")
    old = trusting(authority)
    old.maximum_version = V1_2

    async def scene() -> None:
        async with serving(Certificates(config)) as server:
            await refused(server, old)
            async with connected(server, trusting(authority)):
                assert (await server.facts()).version == "TLSv1.3"

    run(scene())


# -- reading again --


def test_a_session_outlives_its_certificate(run: Run, files: Files, authority: trustme.CA) -> None:
    old, new = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    other_old, other_new = authority.issue_cert("b.example"), authority.issue_cert("b.example")
    certificates = Certificates(files.config(old, other_old))

    async def scene() -> None:
        async with serving(certificates) as server, connected(server, trusting(authority)) as first:
            files.config(new, other_new)
            assert certificates.changed()
            async with connected(server, trusting(authority)) as client:
                assert client.met == fingerprint(old)  # it has to be told
            await asyncio.to_thread(certificates.reload)
            assert not certificates.changed()
            await first.echo(b"still there")
            async with connected(server, trusting(authority)) as second:
                assert second.met == fingerprint(new)
                await second.echo(b"two")
                await first.echo(b"one")
            async with connected(server, trusting(authority), "b.example") as third:
                assert third.met == fingerprint(other_new)

    run(scene())


def test_a_handshake_that_has_begun_is_not_disturbed(files: Files, authority: trustme.CA) -> None:
    old, new = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    certificates = Certificates(files.config(old))

    def reload(octets: bytes) -> bytes:
        files.config(new)
        certificates.reload()
        return octets

    ours, _ = shake_hands(certificates.context, trusting(authority), rewrite=reload)
    assert channel_facts(ours).end_point == fingerprint(old)


@pytest.mark.parametrize("damage", ["empty", "half", "key first", "gone", "half key"])
def test_half_written_files_leave_all_as_it_was(
    files: Files, authority: trustme.CA, damage: str
) -> None:
    """And once they are complete, that shows as a change."""
    leaves = [authority.issue_cert("localhost"), authority.issue_cert("b.example")]
    certificates = Certificates(files.config(*leaves))
    before = certificates.context
    new = authority.issue_cert("localhost")
    first, second = files.folder / "0.pem", files.folder / "1.pem"
    files.pair("1", authority.issue_cert("b.example"))  # good, but not taken alone
    match damage:
        case "empty":
            first.write_bytes(b"")
        case "half":
            first.write_bytes(chain(new)[:300])
        case "key first":
            files.put("0.key", new.private_key_pem.bytes())
        case "gone":
            second.unlink()
        case "half key":
            files.put("0.key", new.private_key_pem.bytes()[:80])
    assert certificates.changed()
    with pytest.raises((ValueError, OSError), match=r"[01]\.(pem|key)"):
        certificates.reload()
    assert certificates.context is before
    assert not certificates.changed()  # that error has been told
    ours, _ = shake_hands(certificates.context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(leaves[0])

    files.config(new, authority.issue_cert("b.example"))
    assert certificates.changed()
    certificates.reload()
    ours, _ = shake_hands(certificates.context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(new)


def test_links_are_followed(files: Files, authority: trustme.CA) -> None:
    """As certbot has them: live/x/fullchain.pem -> ../../archive/x/fullchain1.pem."""
    live = files.folder / "live"
    live.mkdir()
    old, new = authority.issue_cert("localhost"), authority.issue_cert("localhost")

    def turn(name: str, target: Path) -> None:
        (live / "new").symlink_to(target)
        (live / "new").rename(live / name)

    for number, leaf in enumerate((old, new), start=1):
        files.pair(f"chain{number}", leaf)
    turn("fullchain.pem", files.folder / "chain1.pem")
    turn("privkey.pem", files.folder / "chain1.key")
    config = TlsConfig((live / "fullchain.pem",), (live / "privkey.pem",))
    certificates = Certificates(config)
    assert not certificates.changed()
    turn("privkey.pem", files.folder / "chain2.key")
    assert certificates.changed()
    with pytest.raises(ValueError, match="not the key of the certificate"):
        certificates.reload()
    turn("fullchain.pem", files.folder / "chain2.pem")
    assert certificates.changed()
    certificates.reload()
    ours, _ = shake_hands(certificates.context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(new)


def test_a_link_to_the_directory_is_followed(files: Files, authority: trustme.CA) -> None:
    """As Kubernetes has it: tls.crt -> ..data/tls.crt, and ..data -> the newest directory."""
    old, new = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    for number, leaf in enumerate((old, new)):
        (files.folder / f"..{number}").mkdir()
        Files(files.folder / f"..{number}").pair("tls", leaf)
    data = files.folder / "..data"
    data.symlink_to("..0")
    for name in ("tls.pem", "tls.key"):
        (files.folder / name).symlink_to(f"..data/{name}")
    certificates = Certificates(TlsConfig((files.folder / "tls.pem",), (files.folder / "tls.key",)))
    (files.folder / "..tmp").symlink_to("..1")
    (files.folder / "..tmp").rename(data)
    assert certificates.changed()
    certificates.reload()
    ours, _ = shake_hands(certificates.context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(new)


def test_a_file_of_the_same_size_and_time_is_another(files: Files, authority: trustme.CA) -> None:
    """As `cp -p` and rsync leave it."""
    certificates = Certificates(files.config(authority.issue_cert("localhost")))
    path = files.folder / "0.pem"
    before = path.stat()
    other = files.put("other", path.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert certificates.changed()


def test_the_ca_of_clients_is_read_again(
    files: Files, authority: trustme.CA, stranger: trustme.CA
) -> None:
    ca = files.put("ca.pem", authority.cert_pem.bytes())
    config = files.config(authority.issue_cert("localhost"), client_ca=ca, client_required=True)
    certificates = Certificates(config)
    theirs = trusting(authority)
    stranger.issue_cert("alice@example.org").configure_cert(theirs)
    with pytest.raises(ssl.SSLError):
        shake_hands(certificates.context, theirs)
    files.put("ca.pem", stranger.cert_pem.bytes())
    assert certificates.changed()
    certificates.reload()
    ours, _ = shake_hands(certificates.context, theirs)
    assert channel_facts(ours).names == ("alice@example.org",)


# -- what the operator is told --


def test_key_and_certificate_may_be_in_one_file(files: Files, authority: trustme.CA) -> None:
    leaf = authority.issue_cert("localhost")
    for order in (
        (chain(leaf), leaf.private_key_pem.bytes()),
        (leaf.private_key_pem.bytes(), chain(leaf)),
    ):
        path = files.put("both.pem", *order)
        for config in (
            TlsConfig((path,)),
            TlsConfig((path,), (None,)),
            TlsConfig((path,), (path,)),
        ):
            ours, _ = shake_hands(Certificates(config).context, trusting(authority))
            assert channel_facts(ours).end_point == fingerprint(leaf)


def test_the_chain_is_sent(files: Files, authority: trustme.CA) -> None:
    leaf = authority.create_child_ca().issue_cert("localhost")
    ours, _ = shake_hands(Certificates(files.config(leaf)).context, trusting(authority))
    assert channel_facts(ours).end_point == fingerprint(leaf)


@pytest.mark.parametrize(
    ("days", "word"), [((-10, -1), "valid from"), ((1, 10), "valid from"), ((-1, 1), "")]
)
def test_a_certificate_out_of_its_time_is_used_with_a_warning(
    files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture,
    days: tuple[int, int], word: str,
) -> None:  # fmt: skip
    """Clients may still take it, or ask; a server that does not start serves nobody."""
    now = datetime.now(UTC)
    begins, ends = (now + timedelta(days=day) for day in days)
    leaf = authority.issue_cert("localhost", not_before=begins, not_after=ends)
    config = files.config(leaf)
    with caplog.at_level(logging.WARNING, "pymap.tls"):
        Certificates(config)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(word)
    if word:
        assert word in messages[0]
        assert str(config.certs[0]) in messages[0]
        assert f"{ends:%Y-%m-%d %H:%M:%S}" in messages[0]


def test_bad_files_are_named(files: Files, authority: trustme.CA) -> None:
    good, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    cert, key = files.pair("good", good)
    _, other_key = files.pair("other", other)
    rsa_leaf = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    _, rsa_key = files.pair("rsa", rsa_leaf)
    secret = serialization.load_pem_private_key(good.private_key_pem.bytes(), None)
    encrypted = files.put(
        "encrypted.key",
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        ),
    )
    text = files.put("text", b"this is no certificate\n")
    wrong = files.put("wrong", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    wrong_key = files.put(
        "wrong.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    )
    absent = files.folder / "absent"
    table: list[tuple[TlsConfig, Path | str, str]] = [
        (TlsConfig(), "", "needs a certificate"),
        (TlsConfig((cert,), (key, key)), key, "a key without a certificate"),
        (TlsConfig((cert,)), cert, "holds no private key"),
        (TlsConfig((cert,), (text,)), text, "holds no private key"),
        (TlsConfig((text,), (key,)), text, "holds no certificate"),
        (TlsConfig((key,), (cert,)), key, "holds no certificate"),
        (TlsConfig((wrong,), (key,)), wrong, "not a certificate"),
        (TlsConfig((cert,), (wrong_key,)), wrong_key, "not a certificate and its key"),
        (TlsConfig((cert,), (other_key,)), other_key, "not the key of the certificate"),
        (TlsConfig((cert,), (rsa_key,)), rsa_key, "not the key of the certificate"),
        (TlsConfig((cert,), (encrypted,)), encrypted, "encrypted"),
        (TlsConfig((cert,), (key,), client_ca=text), text, "no certificate of a CA"),
        (TlsConfig((cert,), (key,), client_required=True), "", "no CA"),
        (TlsConfig((cert,), (key,), minimum="1.1"), "", "1.2 or 1.3"),
        (TlsConfig((cert,), (key,), ciphers="ROT13"), "ROT13", "no cipher"),
    ]
    for config, path, words in table:
        with pytest.raises(ValueError, match=words) as caught:
            Certificates(config)
        assert str(path) in str(caught.value)
    for config in (
        TlsConfig((absent,), (key,)),
        TlsConfig((cert,), (absent,)),
        TlsConfig((cert,), (key,), client_ca=absent),
        TlsConfig((cert, absent), (key, key)),
    ):
        with pytest.raises(FileNotFoundError) as missing:
            Certificates(config)
        assert missing.value.filename == absent or str(absent) == missing.value.filename
    with pytest.raises(IsADirectoryError):
        Certificates(TlsConfig((files.folder,), (key,)))


def test_no_damage_to_a_certificate_is_more_than_an_error_for_the_operator(
    files: Files, authority: trustme.CA
) -> None:
    leaf = authority.issue_cert("localhost")
    key = files.put("key", leaf.private_key_pem.bytes())
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    for at in range(len(der)):
        for octet in (0x00, 0x84):
            damaged = der[:at] + bytes((octet,)) + der[at + 1 :]
            path = files.put("cert", ssl.DER_cert_to_PEM_cert(damaged).encode())
            with suppress(ValueError):  # what is left may be a certificate for another name
                Certificates(TlsConfig((path,), (key,)))


# -- certificates of clients --


def test_optional_client_certificates(
    run: Run, files: Files, authority: trustme.CA, stranger: trustme.CA
) -> None:
    ca = files.put("ca.pem", authority.cert_pem.bytes())
    certificates = Certificates(files.config(authority.issue_cert("localhost"), client_ca=ca))

    async def scene() -> None:
        async with serving(certificates) as server:
            async with connected(server, trusting(authority)):
                assert (await server.facts()).names == ()
            good = trusting(authority)
            authority.issue_cert("alice@example.org", common_name="Alice").configure_cert(good)
            async with connected(server, good) as client:
                assert (await server.facts()).names == ("alice@example.org", "Alice")
                await client.echo(b"hello")
            bad = trusting(authority)
            stranger.issue_cert("alice@example.org").configure_cert(bad)
            await refused(server, bad)
            late = trusting(authority)
            past = datetime.now(UTC) - timedelta(days=2)
            authority.issue_cert(
                "alice@example.org", not_before=past, not_after=past + timedelta(days=1)
            ).configure_cert(late)
            await refused(server, late)

    run(scene())


def test_required_client_certificates(
    run: Run, files: Files, authority: trustme.CA, stranger: trustme.CA
) -> None:
    """Also of clients that ask for the second name: its context has to verify as well."""
    ca = files.put("ca.pem", stranger.cert_pem.bytes())
    leaves = [authority.issue_cert("localhost"), authority.issue_cert("b.example")]
    certificates = Certificates(files.config(*leaves, client_ca=ca, client_required=True))

    async def scene() -> None:
        async with serving(certificates) as server:
            await refused(server, trusting(authority))
            good = trusting(authority)
            stranger.issue_cert("bob@example.org").configure_cert(good)
            for name in ("localhost", "b.example"):
                async with connected(server, good, name):
                    assert (await server.facts()).names == ("bob@example.org",)

    run(scene())


def test_without_a_ca_no_certificate_is_asked_for(files: Files, authority: trustme.CA) -> None:
    context = Certificates(files.config(authority.issue_cert("localhost"))).context
    theirs = trusting(authority)
    authority.issue_cert("alice@example.org").configure_cert(theirs)
    ours, _ = shake_hands(context, theirs)
    assert channel_facts(ours).names == ()


def test_revoked_client_certificates(files: Files, authority: trustme.CA) -> None:
    """The list of them stands behind the CA's certificate."""
    leaf = authority.issue_cert("alice@example.org")
    revoked = x509.load_pem_x509_certificate(chain(leaf)).serial_number
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.now(UTC)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(revoked).revocation_date(now).build()
        )
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
        .public_bytes(serialization.Encoding.PEM)
    )
    ca = files.put("ca.pem", authority.cert_pem.bytes(), crl)
    config = files.config(authority.issue_cert("localhost"), client_ca=ca)
    context = Certificates(config).context
    theirs = trusting(authority)
    leaf.configure_cert(theirs)
    with pytest.raises(ssl.SSLError, match="revoked"):
        shake_hands(context, theirs)
    theirs = trusting(authority)
    authority.issue_cert("bob@example.org").configure_cert(theirs)
    ours, _ = shake_hands(context, theirs)
    assert channel_facts(ours).names == ("bob@example.org",)


def test_a_session_of_tls_1_2_that_goes_on_still_knows_its_client(
    files: Files, authority: trustme.CA
) -> None:
    ca = files.put("ca.pem", authority.cert_pem.bytes())
    leaf = authority.issue_cert("localhost")
    context = Certificates(files.config(leaf, client_ca=ca, client_required=True)).context
    theirs = trusting(authority)
    theirs.maximum_version = V1_2
    authority.issue_cert("alice@example.org").configure_cert(theirs)
    first, client = shake_hands(context, theirs)
    second, _ = shake_hands(context, theirs, client.session)
    assert not first.session_reused
    assert second.session_reused
    assert channel_facts(first) == channel_facts(second)
    assert channel_facts(second) == (("alice@example.org",), fingerprint(leaf), "TLSv1.2")


def test_a_session_of_tls_1_3_is_never_resumed(files: Files, authority: trustme.CA) -> None:
    context = Certificates(files.config(authority.issue_cert("localhost"))).context
    theirs = trusting(authority)
    _, client = shake_hands(context, theirs)
    again, _ = shake_hands(context, theirs, client.session)
    assert not again.session_reused


# -- certificates that trustme does not make --


def signed(
    subject: list[tuple[x509.ObjectIdentifier, str]],
    alternatives: list[x509.GeneralName],
    *,
    by: Any = None,
    hashed: hashes.HashAlgorithm | None,
    pss: bool = False,
) -> tuple[bytes, bytes]:
    """A certificate that its own key has signed, in PEM, and the key."""
    key = by or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    how: Any = {}
    if pss:
        assert hashed is not None
        how["rsa_padding"] = padding.PSS(padding.MGF1(hashed), padding.PSS.DIGEST_LENGTH)
    certificate = builder.sign(key, hashed, **how)
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "rsa-pss"])
@pytest.mark.parametrize(
    "hashed", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_the_end_point_is_hashed_as_the_certificate_is_signed(
    files: Files, rsa_key: rsa.RSAPrivateKey, kind: str, hashed: hashes.HashAlgorithm
) -> None:
    """RFC 5929 4.1"""
    by = None if kind == "ecdsa" else rsa_key
    pem, key = signed([], [], by=by, hashed=hashed, pss=kind == "rsa-pss")
    der, end_point = met_as(files, pem, key)
    assert x509.load_der_x509_certificate(der).signature_hash_algorithm.name == hashed.name  # type: ignore[union-attr]
    assert end_point == hashlib.new(hashed.name, der).digest()


@pytest.mark.parametrize(("octet", "weak"), [(4, "md5"), (5, "sha1")])
def test_for_a_weak_hash_the_end_point_has_sha256(
    files: Files, rsa_key: rsa.RSAPrivateKey, octet: int, weak: str
) -> None:
    """RFC 5929 4.1. Nobody signs so any more; nobody looks at who signs itself, either."""
    pem, key = signed([], [], by=rsa_key, hashed=hashes.SHA256())
    sha256_with_rsa = bytes.fromhex("2a864886f70d0101")
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    der = der.replace(sha256_with_rsa + b"\x0b", sha256_with_rsa + bytes((octet,)))
    assert x509.load_der_x509_certificate(der).signature_hash_algorithm.name == weak  # type: ignore[union-attr]
    met, end_point = met_as(files, ssl.DER_cert_to_PEM_cert(der).encode(), key)
    assert met == der
    assert end_point == hashlib.sha256(der).digest()


def test_a_signature_without_a_hash_has_no_end_point(files: Files) -> None:
    pem, key = signed([], [], by=ed25519.Ed25519PrivateKey.generate(), hashed=None)
    _, end_point = met_as(files, pem, key)
    assert end_point == b""


def test_rsa_pss_without_parameters_hashes_with_sha1() -> None:
    """RFC 4055 3.1"""
    assert _hash(bytes.fromhex("06092a864886f70d01010a3000")) == "sha256"


def met_as(files: Files, pem: bytes, key: bytes) -> tuple[bytes, bytes]:
    """The certificate that a client meets, in DER, and the end point that the server knows."""
    config = TlsConfig((files.put("pem", pem),), (files.put("key", key),))
    theirs = ssl.create_default_context()
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    ours, client = shake_hands(Certificates(config).context, theirs)
    return client.getpeercert(binary_form=True) or b"", channel_facts(ours).end_point


@pytest.mark.parametrize(
    ("subject", "alternatives", "names"),
    [
        ([], [x509.RFC822Name("Alice@Example.ORG")], ("Alice@example.org",)),
        (
            [(NameOID.COMMON_NAME, "Alice"), (NameOID.EMAIL_ADDRESS, "old@EXAMPLE.org")],
            [x509.DNSName("host.example"), x509.RFC822Name("a@example.org"), x509.RFC822Name("b@example.org")],
            ("a@example.org", "b@example.org", "old@example.org", "Alice"),
        ),
        (
            [(NameOID.EMAIL_ADDRESS, "a@example.org"), (NameOID.COMMON_NAME, "a@example.org")],
            [x509.RFC822Name("a@example.org")],
            ("a@example.org",),
        ),
        (
            [
                (NameOID.DOMAIN_COMPONENT, "org"),
                (NameOID.COMMON_NAME, "Users"),
                (NameOID.COMMON_NAME, "Jürgen"),
            ],
            [],
            ("Jürgen",),
        ),
        ([(NameOID.COMMON_NAME, "alice\0.example.org")], [], ()),
        ([(NameOID.COMMON_NAME, "alice\r\nforged log line")], [], ()),
        ([(NameOID.ORGANIZATION_NAME, "alice")], [x509.DNSName("alice")], ()),
    ],
)  # fmt: skip
def test_the_names_of_a_client(
    files: Files,
    authority: trustme.CA,
    subject: list[tuple[x509.ObjectIdentifier, str]],
    alternatives: list[x509.GeneralName],
    names: tuple[str, ...],
) -> None:
    if not subject:
        subject = [(NameOID.ORGANIZATION_NAME, "Example")]
    pem, key = signed(subject, alternatives, hashed=hashes.SHA256())
    assert _names_of(files, authority, pem, key) == names


def test_a_name_that_is_no_text_is_none(files: Files, authority: trustme.CA) -> None:
    """The standard library raises UnicodeDecodeError over it."""
    key = ec.generate_private_key(ec.SECP256R1())
    odd = x509.RFC822Name._init_without_validation("a\x7f@example.org")
    pem, private = signed([(NameOID.COMMON_NAME, "x")], [odd], by=key, hashed=hashes.SHA256())
    # The octet is changed in what is signed, so it has to be signed once more.
    der = ssl.PEM_cert_to_DER_cert(pem.decode()).replace(b"a\x7f@", b"a\xff@")
    certificate = x509.load_der_x509_certificate(der)
    to_sign = certificate.tbs_certificate_bytes
    signature = b"\x03" + _der_length(s := b"\0" + key.sign(to_sign, ec.ECDSA(hashes.SHA256()))) + s
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    content = to_sign + algorithm + signature
    der = b"\x30" + _der_length(content) + content
    assert _names_of(files, authority, ssl.DER_cert_to_PEM_cert(der).encode(), private) == ()


def _der_length(content: bytes) -> bytes:
    size = len(content)
    return bytes((size,)) if size < 128 else bytes((0x82, size >> 8, size & 0xFF))


def _names_of(files: Files, authority: trustme.CA, pem: bytes, key: bytes) -> tuple[str, ...]:
    """What the server calls a client with that certificate, which it trusts as its own CA."""
    path = files.put("client.pem", pem, key)
    config = files.config(authority.issue_cert("localhost"), client_ca=path, client_required=True)
    theirs = trusting(authority)
    theirs.load_cert_chain(path)
    ours, _ = shake_hands(Certificates(config).context, theirs)
    return channel_facts(ours).names
