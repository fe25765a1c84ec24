"""What the migrations add up to, as text: ``python -m postpaid.storage.schema`` writes schema.sql.

It is read from the catalogs, so that every version of PostgreSQL gives the same.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from textwrap import TextWrapper

import psycopg

from postpaid.storage import embedded
from postpaid.storage.database import Connection, migrate

SCHEMA = Path(__file__).with_name("schema.sql")
HEADER = "-- What the migrations add up to: written by `make schema`, and read by people."
WRAPPER = TextWrapper(96, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)

DOMAINS = """
SELECT concat_ws(' ', 'CREATE DOMAIN', quote_ident(t.typname), 'AS',
                 format_type(t.typbasetype, t.typtypmod), 'COLLATE ' || quote_ident(c.collname))
  FROM pg_type t
  LEFT JOIN pg_collation c ON c.oid = t.typcollation AND c.collname <> 'default'
 WHERE t.typnamespace = 'public'::regnamespace
   AND t.typtype = 'd'
 ORDER BY t.oid
"""

# In the order in which they were made, so that mostly what a table refers to comes before it.
TABLES = """
SELECT oid, quote_ident(relname),
       concat(' WITH (' || array_to_string(reloptions, ', ') || ')',
              CASE WHEN relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(oid) END)
  FROM pg_class
 WHERE relnamespace = 'public'::regnamespace
   AND relkind IN ('r', 'p')
   AND NOT relispartition
   AND relname <> 'schema_migrations'
 ORDER BY oid
"""

PARTITIONS = """
SELECT concat_ws(' ', 'CREATE TABLE', quote_ident(c.relname), 'PARTITION OF',
                 i.inhparent::regclass::text, pg_get_expr(c.relpartbound, c.oid))
  FROM pg_class c
  JOIN pg_inherits i ON i.inhrelid = c.oid
 WHERE i.inhparent = %(table)s
 ORDER BY c.oid
"""

SEQUENCES = """
SELECT 'CREATE SEQUENCE ' || quote_ident(relname)
  FROM pg_class c
 WHERE relnamespace = 'public'::regnamespace
   AND relkind = 'S'
   AND NOT EXISTS (
       SELECT
         FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass
          AND d.objid = c.oid
          AND d.deptype = 'i')
 ORDER BY oid
"""

COLUMNS = """
SELECT quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
       concat_ws(' ', 'COLLATE ' || quote_ident(c.collname),
                 CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                 CASE WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY' END,
                 CASE WHEN a.attgenerated = '' THEN 'DEFAULT '
                      ELSE 'GENERATED ALWAYS AS (' END || pg_get_expr(d.adbin, d.adrelid, true),
                 CASE WHEN a.attgenerated <> '' THEN ') STORED' END)
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_collation c ON c.oid = a.attcollation AND a.attcollation <> t.typcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %(table)s
   AND a.attnum > 0
   AND NOT a.attisdropped
 ORDER BY a.attnum
"""

# NOT NULL, which is a constraint since PostgreSQL 18, is written at its column.
CONSTRAINTS = """
SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid, true)
  FROM pg_constraint
 WHERE conrelid = %(table)s
   AND (contype IN ('p', 'u', 'x', 'c') OR contype = 'f' AND confrelid <= conrelid)
 ORDER BY strpos('puxfc', contype::text), conname
"""

# What an older table refers to this one by.
KEYS_TO = """
SELECT 'ALTER TABLE ' || conrelid::regclass::text || ' ADD CONSTRAINT ' || quote_ident(conname)
       || ' ' || pg_get_constraintdef(oid, true)
  FROM pg_constraint
 WHERE confrelid = %(table)s
   AND contype = 'f'
   AND conrelid < confrelid
   AND conparentid = 0
 ORDER BY conrelid, conname
"""

INDEXES = """
SELECT pg_get_indexdef(indexrelid, 0, true)
  FROM pg_index
 WHERE indrelid = %(table)s
   AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE conrelid = %(table)s)
 ORDER BY indexrelid
"""

VIEWS = """
SELECT 'CREATE VIEW ' || quote_ident(relname) || ' AS' || chr(10) || pg_get_viewdef(oid, 96)
  FROM pg_class
 WHERE relnamespace = 'public'::regnamespace
   AND relkind = 'v'
 ORDER BY oid
"""

FUNCTIONS = """
SELECT replace(pg_get_functiondef(oid), 'FUNCTION public.', 'FUNCTION ')
  FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace
 ORDER BY oid
"""

TRIGGERS = """
SELECT pg_get_triggerdef(oid, true)
  FROM pg_trigger
 WHERE tgrelid = %(table)s
   AND NOT tgisinternal
 ORDER BY oid
"""


def render(conn: Connection) -> str:
    """The schema of a migrated database, as the statements that make it."""
    domains = [f"{text};" for (text,) in conn.execute(DOMAINS)]
    functions = [f"{text.strip()};" for (text,) in conn.execute(FUNCTIONS)]
    tables = [_table(conn, *row) for row in conn.execute(TABLES).fetchall()]
    sequences = [f"{text};" for (text,) in conn.execute(SEQUENCES)]
    views = [_plain(text) for (text,) in conn.execute(VIEWS)]
    return "\n\n".join([HEADER, *domains, *functions, *sequences, *tables, *views]) + "\n"


def _table(conn: Connection, table: int, name: str, options: str | None) -> str:
    of = {"table": table}
    columns = [[_readable(text) for text in row] for row in conn.execute(COLUMNS, of)]
    wide, wider, _ = (max(map(len, texts)) for texts in zip(*columns, strict=True))
    inside = [f"{one:{wide}} {kind:{wider}} {rest}".rstrip() for one, kind, rest in columns]
    inside += [_readable(text) for (text,) in conn.execute(CONSTRAINTS, of)]
    body = ",\n".join(inside).replace("\n", "\n    ")
    lines = [f"CREATE TABLE {name} (\n    {body}\n){options or ''};"]
    for (text,) in conn.execute(INDEXES, of):
        lines.append(f"{_readable(text.replace(' ON ONLY ', ' ON '))};")
    lines += [f"{text};" for (text,) in conn.execute(PARTITIONS, of)]
    lines += [f"{_readable(text)};" for (text,) in conn.execute(KEYS_TO, of)]
    lines += [f"{_readable(text)};" for (text,) in conn.execute(TRIGGERS, of)]
    return "\n".join(lines)


def _readable(text: str) -> str:
    return "\n".join(WRAPPER.wrap(_plain(text).replace(" USING btree", "")))


def _plain(text: str) -> str:
    text = re.sub(r"('[^']*')::text\b(?!\[)", r"\1", text)
    text = re.sub(r"= ANY \(ARRAY\[([^]]*)\]\)", r"IN (\1)", text)
    return re.sub(r"timestamp(\(\d\))? with time zone", r"timestamptz\1", text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as server:
        migrate(server.url)
        with psycopg.connect(server.url) as conn:
            SCHEMA.write_text(render(conn))
