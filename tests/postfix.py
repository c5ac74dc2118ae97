"""Postfix in folders of its own: takes mail by STARTTLS and keeps it in a maildir. Needs root, as postfix does."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from certificates import Authority

MASTER = """\
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mail.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
local_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{oncall@example.com=oncall/}}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {folder}/server.pem
smtputf8_enable = yes
"""


def why_not() -> str | None:
    """What is missing on this machine."""
    if shutil.which("postfix") is None:
        return "postfix is not installed: apt install postfix"
    if os.geteuid() != 0:
        return "postfix starts as root only"
    return None


class Postfix:
    """Stopped and removed at the end."""

    def __init__(self, authority: Authority) -> None:
        # Not in the tests' own folder: postfix's processes give up root and could not reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = int(taken.getsockname()[1])
        self._configure(authority)

    def _configure(self, authority: Authority) -> None:
        owner = pwd.getpwnam("postfix")
        certificate = self.folder / "server.pem"
        authority.server()
        certificate.write_bytes((authority.folder / "localhost-30.pem").read_bytes())
        certificate.chmod(0o600)
        daemons = subprocess.run(
            ["postconf", "-h", "-d", "daemon_directory"], capture_output=True, text=True, check=True
        ).stdout.strip()
        configuration = self.folder / "etc"
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        main = MAIN.format(folder=self.folder, daemons=daemons, uid=owner.pw_uid, gid=owner.pw_gid)
        (configuration / "main.cf").write_text(main)
        (configuration / "master.cf").write_text(MASTER.format(port=f"127.0.0.1:{self.port}"))

    def _run(self, command: str) -> None:
        ran = subprocess.run(
            ["postfix", "-c", str(self.folder / "etc"), command],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr + self.log()

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def messages(self, within: float = 20.0) -> list[bytes]:
        """What it has delivered; waits for the first."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if found := sorted((self.folder / "mail" / "oncall" / "new").glob("*")):
                return [file.read_bytes() for file in found]
            time.sleep(0.1)
        return []

    def __enter__(self) -> Postfix:
        self._run("start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)
