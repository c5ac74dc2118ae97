"""docs/topics.md, made from the table: `tocsin topics list -o markdown`."""

from __future__ import annotations

from tocsin.shared.times import format_duration
from tocsin.shared.topics import Topic, topic_table

HEAD = """\
# Topics

Made from the table in `shared/tocsin/shared/topics.py` by `tocsin topics list -o markdown`; a test keeps it current.
`tocsin topics apply` creates them, `tocsin topics check` says what is wrong with them. A setting `TOCSIN_TOPIC_PREFIX`
stands before every name. Topics of one group have the same number of partitions.

Public topics carry one UTF-8 JSON object a record, readable with `kcat`, CloudEvents 1.0 attributes in their Kafka
headers (`ce_id`, `ce_type`, `ce_source`, `ce_time`, `content-type`), `traceparent`, and a `schema` version. Fields are
added, never renamed or removed. Read them with `isolation.level=read_committed`.

| topic | key | value | policy | retention | partitions | who writes → reads | schema |
|---|---|---|---|---|---|---|---|
"""


def render_page() -> str:
    return HEAD + "".join(_row(topic) for topic in topic_table())


def _row(topic: Topic) -> str:
    retention = "for ever" if topic.retention_ms is None else format_duration(topic.retention_ms)
    if topic.cleanup == "compact":
        retention = "newest of each key"
    partitions = "1" if topic.group == "one" else f"as set ({topic.group})"
    readers = ", ".join("**public**" if reader == "public" else reader for reader in topic.readers)
    flow = f"{', '.join(topic.writers)} → {readers}"
    schema = f"[{topic.schema}](schemas/{topic.schema}.json)" if topic.schema else ""
    cells = (f"`{topic.name}`", topic.key, topic.value, topic.cleanup, retention, partitions, flow, schema)
    return f"| {' | '.join(cells)} |\n"
