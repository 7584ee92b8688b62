"""fsspec's SFTP, to servers that are known, over connections that are closed."""

import socket
from pathlib import Path

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

CONNECT_SECONDS = 10
KEEPALIVE_SECONDS = 30


class Sftp(SFTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Its own connecting trusts every server, and leaves what failed open."""

    def _connect(self) -> None:
        options = {"timeout": CONNECT_SECONDS, **self.ssh_kwargs}
        known_hosts = Path(options.pop("known_hosts", "~/.ssh/known_hosts")).expanduser()
        self.client = paramiko.SSHClient()
        try:
            self.client.load_system_host_keys(str(known_hosts))
            self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
            self.client.connect(self.host, **options)
            transport = self.client.get_transport()
            # Each block is acknowledged before the next one goes: held back by Nagle's algorithm it takes 40 ms.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport.set_keepalive(KEEPALIVE_SECONDS)
            self.ftp = self.client.open_sftp()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.client.close()
