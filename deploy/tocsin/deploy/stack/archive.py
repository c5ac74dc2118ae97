"""The broker's classes, parsed and linked once and mapped from a file ever after: Kafka boots in half the time.

Java calls it application class-data sharing. An archive serves one Java and one set of jars, and its name says which;
where there is none, or it does not fit, Java loads the classes as always.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack.errors import StackError
from tocsin.deploy.stack.jars import Say, kafka_jars
from tocsin.deploy.stack.java import archive_of, find_java
from tocsin.deploy.stack.kafka import Kafka

DUMP_GRACE = timedelta(seconds=60)
"""Java writes the archive while it ends: some seconds more than an ordinary end."""


def make_archive(say: Say = lambda _: None) -> Path | None:
    """Boot a broker once and keep its classes. None where that can't be done: everything works without, only slower."""
    jars = kafka_jars(say)
    java = find_java()
    target = archive_of(java, jars)
    if target.exists():
        return target
    started = time.monotonic()
    _make_base(java)
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=jars.parent) as name, Supervisor() as supervisor:
        unfinished = Path(name, "classes.jsa")
        broker = Kafka(Path(name, "kafka"), supervisor, jvm_flags=(f"-XX:ArchiveClassesAtExit={unfinished}",))
        try:
            broker.start()
            broker.stop(DUMP_GRACE)
        except StackError as error:
            say(f"Kafka's class archive was not made ({error}); everything works without it")
            return None
        if not unfinished.exists():
            say("Kafka's class archive was not made: this Java makes none; everything works without it")
            return None
        unfinished.replace(target)
    say(f"Kafka's class archive, so that it boots in half the time: made in {time.monotonic() - started:.1f} s")
    return target


def _make_base(java: Path) -> None:
    """Java's own classes come first. The runtimes in wheels lack that archive; elsewhere this changes nothing."""
    has_one = subprocess.run([java, "-Xshare:on", "-version"], capture_output=True, check=False).returncode == 0
    if not has_one:
        subprocess.run([java, "-Xshare:dump"], capture_output=True, check=False)  # a failure shows in what comes next
