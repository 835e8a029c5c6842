"""A real HTTPS server that plays the API server for the node plugin, and misbehaves on demand."""

import http.server
import json
import ssl
import subprocess
import threading


class FakeApi(http.server.ThreadingHTTPServer):
    """Serves StorageBackends, counts requests, and misbehaves on demand."""

    daemon_threads = True

    def __init__(self, account):
        super().__init__(("127.0.0.1", 0), Handler)
        self.account = account
        self.objects = {}
        self.requests = []
        self.status = 200
        self.silent = threading.Event()
        self.silent.set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "ca.crt", account / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request, client_address):
        """A client that gave up is expected here."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers["Authorization"]))
        server.silent.wait(10)
        name = self.path.rpartition("/")[2]
        status = server.status
        if status == 200 and name not in server.objects:
            status = 404
        body = json.dumps(server.objects.get(name, {})).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def make_certificate(folder, name):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    subprocess.run(
        [
            *command.split(),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "key.pem", "-out", folder / "ca.crt"),
        ],
        check=True,
        capture_output=True,
    )
