"""Password hashes: argon2id, computed off the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from impact.settings import Settings


class Passwords:
    """Hashes and checks passwords with the cost of the settings.

    Defaults are OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane (Password Storage
    Cheat Sheet). A pool of two threads bounds the memory that logins may take at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.password_time_cost,
            memory_cost=settings.password_memory_kib,
            parallelism=1,
        )
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        # An unknown e-mail costs as much time as a wrong password.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the stored one; False, as slowly, where none is stored."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, stored, password)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
