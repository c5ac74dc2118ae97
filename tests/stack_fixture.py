"""The fixture `stack`: one local stack for the whole session, with a real broker.

KAFKA_BOOTSTRAP_SERVERS names a broker to use instead; `--containers` starts one in a container engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tocsin.deploy.stack import Stack, StackError
from tocsin.deploy.stack.jars import kafka_version, read_sums
from tocsin.deploy.stack.kafka import BROKER_PROPERTIES, cluster_id
from tocsin.deploy.stack.ports import HOST, free_port, wait_until

CONTAINER_PORT = 9092


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--containers", action="store_true", help="run the broker in a container (apache/kafka) instead of a process"
    )


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, a mail sink, and Redis where there is one, on random ports. Shared: use topics of your own."""
    state_dir = tmp_path_factory.mktemp("stack")
    if not request.config.getoption("--containers"):
        with Stack(state_dir) as local:
            yield local
        return
    with kafka_in_a_container() as bootstrap_servers, Stack(state_dir, bootstrap_servers=bootstrap_servers) as local:
        yield local


@contextmanager
def kafka_in_a_container() -> Iterator[str]:
    """A plain container: the Kafka class of testcontainers fits another vendor's images only."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only with --containers

    port = free_port()  # chosen by us, because the broker must advertise it
    settings = {
        **{f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in BROKER_PROPERTIES.items()},
        "KAFKA_LISTENERS": f"CLIENTS://:{CONTAINER_PORT},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"CLIENTS://{HOST}:{port}",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    }
    container = DockerContainer(f"apache/kafka:{kafka_version(read_sums())}").with_bind_ports(CONTAINER_PORT, port)
    for name, value in settings.items():
        container.with_env(name, value)
    try:
        container.start()
    except Exception as error:  # noqa: BLE001 - whatever the engine's client raises, the reason is the same
        pytest.fail(f"--containers needs a running container engine: {error}", pytrace=False)
    try:
        address = f"{HOST}:{port}"
        if not wait_until(lambda: cluster_id(address) is not None, timedelta(seconds=60)):
            raise StackError("Kafka in its container did not answer within 60 s")
        yield address
    finally:
        container.stop()
