"""Archives of the audit log: a Parquet file for each partition, and a manifest beside it.

The manifest is written last, so a file without one is the remainder of an interrupted run. Rows
are ordered by tenant and position: a tenant's chain can be followed by reading on.
"""

import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from impact.engine.changes.chain import Run
from impact.errors import ConfigurationError, ImpactError

SCHEMA_VERSION = 1
ROW_GROUP = 20_000
COLUMNS = pa.schema(
    [
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("id", pa.int64(), nullable=False),
        pa.field("occurred_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("row_id", pa.string()),
        pa.field("action", pa.string(), nullable=False),
        pa.field("before", pa.string()),
        pa.field("after", pa.string()),
        pa.field("actor", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("previous_hash", pa.binary(), nullable=False),
        pa.field("hash", pa.binary(), nullable=False),
    ]
)
"""``before`` and ``after`` are JSON as PostgreSQL prints a jsonb."""
_BLOCK = 1 << 20
_BATCH = 2000

Entry = Any
"""An entry by its columns' names: a row of asyncpg's or of a file."""


class TenantRange(msgspec.Struct):
    """A tenant's entries in an archive. ``runs`` are those without a gap. ``gaps`` are positions,
    both ends included, that are in other partitions: entries are ordered by when they were
    entered, partitions by when the change happened. Hashes are in hexadecimal digits."""

    rows: int
    first_position: int
    last_position: int
    first_previous_hash: str
    last_hash: str
    gaps: list[tuple[int, int]]
    runs: list[Run]


class Manifest(msgspec.Struct, kw_only=True):
    """``lower`` is in the range, ``upper`` is not. ``digest`` is SHA-256 of the manifest's own
    JSON with an empty digest."""

    schema_version: int
    table: str
    partition: str
    lower: dt.datetime = msgspec.field(name="from")
    upper: dt.datetime = msgspec.field(name="to")
    file: str
    rows: int
    bytes: int
    sha256: str
    row_groups: int
    tenants: dict[str, TenantRange]
    created_at: dt.datetime
    digest: str = ""

    def computed_digest(self) -> str:
        return hashlib.sha256(
            msgspec.json.encode(msgspec.structs.replace(self, digest=""))
        ).hexdigest()


class ArchiveError(ImpactError):
    """An archive that is not what it was, or cannot be made; the message says where."""

    code = "archive"


class Store:
    """Where archives are: a directory, or a prefix of an S3 bucket.

    ``s3://bucket/prefix`` takes its credentials from where the AWS tools do (AWS_ACCESS_KEY_ID and
    so on); ``?endpoint_override=host:port&scheme=http`` names another server that speaks S3.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._local = "://" not in place
        try:
            if self._local:
                self._fs: Any = fs.LocalFileSystem()
                self._root = str(Path(place).absolute())
            elif place.startswith("s3://"):
                self._fs, self._root = fs.FileSystem.from_uri(place)
            else:
                raise ConfigurationError(f"{place}: archives go to a directory or to s3://")
        except (pa.ArrowException, OSError) as error:
            raise ConfigurationError(f"{place}: {error}") from error

    def prepare(self) -> None:
        """Make the directory. Raises ConfigurationError where it cannot be written."""
        if self._local:
            try:
                Path(self._root).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"{self.place}: {error.strerror}") from error

    def manifests(self) -> list[Manifest]:
        """All that are complete, the oldest range first. Raises ArchiveError for a damaged one."""
        with self._explained():
            found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
            names = [info.base_name for info in found if info.base_name.endswith(".json")]
            read = [self._manifest(name) for name in sorted(names)]
        return sorted(read, key=lambda manifest: (manifest.lower, manifest.file))

    def _manifest(self, name: str) -> Manifest:
        with self._fs.open_input_stream(self._path(name)) as stream:
            content = stream.read()
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{self.place}/{name} is damaged: {error}") from error
        if manifest.schema_version > SCHEMA_VERSION:
            raise ArchiveError(
                f"{self.place}/{name} was written by a later release"
                f" (schema version {manifest.schema_version})"
            )
        if manifest.digest != manifest.computed_digest():
            raise ArchiveError(f"{self.place}/{name} was changed: its digest does not fit")
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        manifest.digest = manifest.computed_digest()
        content = msgspec.json.format(msgspec.json.encode(manifest))
        name = manifest.file.removesuffix(".parquet") + ".json"
        with self._explained():
            if not self._local:
                with self._fs.open_output_stream(self._path(name)) as stream:
                    stream.write(content)
                return
            path = Path(self._path(name))
            draft = path.with_suffix(".new")
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            _sync(path.parent)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator["Writer"]:
        """A new data file, on the disk when the block ends."""
        # A checksum for each page tells which row group a flipped byte is in.
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
        with self._explained():
            with (
                self._fs.open_output_stream(self._path(name)) as stream,
                pq.ParquetWriter(stream, COLUMNS, **options) as parquet,
            ):
                yield Writer(parquet)
            if self._local:
                _sync(Path(self._path(name)))
                _sync(Path(self._root))

    def digest(self, name: str) -> tuple[str, int]:
        """SHA-256 of a data file as it can be read back, and its length in bytes."""
        sha, length = hashlib.sha256(), 0
        with self._explained(), self._fs.open_input_stream(self._path(name)) as stream:
            while block := stream.read(_BLOCK):
                sha.update(block)
                length += len(block)
        return sha.hexdigest(), length

    @contextlib.contextmanager
    def parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        with self._explained(), self._fs.open_input_file(self._path(name)) as file:
            yield pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)

    def entries(self, name: str) -> Iterator[Entry]:
        """The rows of a data file, in its order."""
        with self.parquet(name) as file:
            for batch in file.iter_batches(_BATCH, use_threads=False):
                yield from batch.to_pylist()

    def matching(self, name: str, condition: Any) -> Iterator[Entry]:
        """The rows of a data file that meet a condition of pyarrow's; row groups whose statistics
        rule it out are not read."""
        with self._explained():
            scanner = ds.dataset(self._path(name), filesystem=self._fs).scanner(
                filter=condition,
                batch_size=_BATCH,
                batch_readahead=1,
                fragment_readahead=1,
                use_threads=False,
                cache_metadata=False,
                fragment_scan_options=ds.ParquetFragmentScanOptions(
                    use_buffered_stream=True, buffer_size=_BLOCK, pre_buffer=False
                ),
            )
            for batch in scanner.to_batches():
                yield from batch.to_pylist()

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(f"{self.place}: {error}") from error


class Writer:
    """Gathers entries into row groups, and what the manifest says of each tenant."""

    def __init__(self, parquet: pq.ParquetWriter) -> None:
        self._parquet = parquet
        self._waiting: list[Entry] = []
        self.rows = 0
        self.row_groups = 0
        self.tenants: dict[str, TenantRange] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """Entries in the order of tenant and position."""
        for entry in entries:
            note(self.tenants, entry)
        self.rows += len(entries)
        self._waiting += entries
        if len(self._waiting) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            columns = {
                field.name: [entry[field.name] for entry in self._waiting] for field in COLUMNS
            }
            table = pa.table(columns, schema=COLUMNS)
            self._parquet.write_table(table, row_group_size=len(self._waiting))
            self.row_groups += 1
            self._waiting = []


def note(tenants: dict[str, TenantRange], entry: Entry) -> None:
    """Take the next entry into its tenant's range."""
    position, previous, hash = entry["position"], entry["previous_hash"].hex(), entry["hash"].hex()
    known = tenants.get(entry["tenant_id"])
    if known is None:
        tenants[entry["tenant_id"]] = TenantRange(
            1, position, position, previous, hash, [], [Run(position, position, previous, hash)]
        )
        return
    if position > known.last_position + 1:
        known.gaps.append((known.last_position + 1, position - 1))
        known.runs.append(Run(position, position, previous, hash))
    known.rows += 1
    known.last_position = known.runs[-1].last = position
    known.last_hash = known.runs[-1].hash = hash


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
