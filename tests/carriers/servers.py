"""Carriers on this machine: they speak the real protocols, answer as told, and misbehave on demand."""

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions


@dataclass(frozen=True)
class Say:
    """An answer, or a way to break off."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    # silence: take the request and never answer. garbage: bytes of no protocol. cut: half an answer, then the end.
    # drip: a byte now and then, without end. hang_up: answer well, then close although the connection was to be kept.
    fault: str = ""

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body or {}).encode()


@dataclass
class Heard:
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Where it listens, what it will say (its last word again and again), and what it heard."""

    address: str
    says: list[Say] = field(default_factory=lambda: [Say()])
    heard: list[Heard] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def next(self) -> Say:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


def _fault(say: Say, connection: socket.socket, over: threading.Event) -> None:
    """Misbehave on a connection that waits for an answer."""
    with contextlib.suppress(OSError):
        if say.fault == "silence":
            over.wait(30)
        elif say.fault == "garbage":
            connection.sendall(b"\x00\xff no protocol at all \r\n\r\n" * 10)
        elif say.fault == "cut":
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"name": "half')
        elif say.fault == "drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
            while not over.wait(0.05):
                connection.sendall(b" ")


@contextlib.contextmanager
def http_server() -> Iterator[Server]:
    """HTTP/1.1 with kept connections."""
    told = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.heard.append(Heard(self.path, headers, body))
            say = told.next()
            if say.fault and say.fault != "hang_up":
                _fault(say, self.connection, told.over)
                self.close_connection = True
                return
            self.send_response(say.status)
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(say.data)))
            self.end_headers()
            self.wfile.write(say.data)
            self.close_connection = say.fault == "hang_up"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        told.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            told.over.set()


@contextlib.contextmanager
def http2_server() -> Iterator[Server]:
    """HTTP/2 as APNs speaks it, without TLS."""
    told = Server("")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
                _serve_http2(self.request, told)

    with _served(_Threaded(("127.0.0.1", 0), Handler)) as server:
        told.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            told.over.set()


def _serve_http2(connection: socket.socket, told: Server) -> None:
    line = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    line.initiate_connection()
    connection.sendall(line.data_to_send())
    begun: dict[int, Heard] = {}
    while data := connection.recv(65536):
        for event in line.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {str(name): str(value) for name, value in event.headers or ()}
                begun[event.stream_id] = Heard(headers[":path"], headers, b"")
            elif isinstance(event, h2.events.DataReceived):
                begun[event.stream_id].body += event.data or b""
                line.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                told.heard.append(begun[event.stream_id])
                say = told.next()
                if say.fault and say.fault != "hang_up":
                    _fault(say, connection, told.over)
                    return
                line.send_headers(event.stream_id, [(":status", str(say.status)), *say.headers.items()])
                line.send_data(event.stream_id, say.data, end_stream=True)
                if say.fault == "hang_up":
                    line.close_connection()
                    connection.sendall(line.data_to_send())
                    return
        connection.sendall(line.data_to_send())


class _Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextlib.contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[socketserver.TCPServer]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    server.block_on_close = False  # type: ignore[attr-defined]
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class MailServer:
    """A mail server of few words: what it says to RCPT and to the letter, and the letters it took."""

    port: int = 0
    rcpt: str = "250 ok"
    data: str = "250 queued"
    login: str = "235 ok"
    quit: str = "221 bye"
    greeting: str = "220 mail"
    letters: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """SMTP (RFC 5321) as far as a client that sends one letter asks."""
    told = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                _serve_mail(self, told)

    with _served(_Threaded(("127.0.0.1", 0), Handler)) as server:
        told.port = server.server_address[1]
        try:
            yield told
        finally:
            told.over.set()


def _serve_mail(handler: socketserver.StreamRequestHandler, told: MailServer) -> None:
    def say(line: str) -> None:
        handler.wfile.write(line.encode() + b"\r\n")

    if told.greeting == "drip":
        while not told.over.wait(0.05):
            handler.wfile.write(b"2")
        return
    if told.greeting == "silence":
        told.over.wait(30)
        return
    say(told.greeting)
    answers = {
        "EHLO": "250-mail\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 SMTPUTF8",
        "AUTH": told.login,
        "RCPT": told.rcpt,
        "DATA": "354 go on",
        "QUIT": told.quit,
    }
    while verb := handler.rfile.readline().decode().strip()[:4].upper():
        say(answers.get(verb, "250 ok"))
        if verb == "DATA":
            letter = list(iter(lambda: handler.rfile.readline().decode(), ".\r\n"))
            if told.data.startswith("250"):
                told.letters.append("".join(letter))
            say(told.data)
        elif verb == "QUIT":
            return
