"""Ids of rows that are older than their import."""


def uuid7_at(moment: str) -> str:
    """SQL for a UUIDv7 (RFC 9562, 5.7) of the timestamptz expression ``moment``.

    Its first 48 bits are the moment in milliseconds, so imported history sorts by id as it
    sorts by time; the rest is random. PostgreSQL 18's uuidv7() would do, 16 has none: the
    version digit of a random UUID is replaced, its variant and its randomness stay.
    Moments before 1970 do not fit and must be refused before.
    """
    milliseconds = f"(extract(epoch FROM {moment}) * 1000)::bigint"
    return f"(lpad(to_hex({milliseconds}), 12, '0') || '7' || {_RANDOM})::uuid"


def uuid7_like(other: str) -> str:
    """SQL for a UUIDv7 of the moment that the UUIDv7 expression ``other`` carries.

    For the many rows that hang on one. It skips the arithmetic, and the random numbers of the
    operating system, for which a PostgreSQL without OpenSSL opens a file each time: together 2 s in
    half a million rows. ``other`` and 52 bits of ``random()`` are digested to as many bits as a
    UUID takes; no two rows of one ``other`` meet.
    """
    digest = f"md5({other}::text || random())"
    return (
        f"(substr({other}::text, 1, 13) || '7'"
        f" || substr(overlay({digest} PLACING '8' FROM 17), 14))::uuid"
    )


_RANDOM = "substr(gen_random_uuid()::text, 16)"
"""The 74 random bits and the variant of a random UUID, after its version digit."""
