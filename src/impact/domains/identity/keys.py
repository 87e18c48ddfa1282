"""API keys: made, shown once, revoked."""

from uuid import UUID

from impact.domains.identity.authority import Authority
from impact.domains.identity.models import ApiKey
from impact.domains.identity.repository import ApiKeyRepository, RoleRepository
from impact.domains.identity.schemas import CreateApiKey
from impact.engine.db.base import new_id, utc_now
from impact.engine.db.session import WriteSession
from impact.engine.security.permissions import PermissionSet
from impact.engine.security.tokens import make_api_key
from impact.errors import InvalidDataError, NotAllowedError, Problem


class ApiKeyService:
    """Keys of the session's tenant, as changed by a caller who holds ``held``.

    Revoking needs no permission that the key holds: it gives nobody anything, and a leaked key
    must be stopped by whoever is there.
    """

    def __init__(self, session: WriteSession, held: PermissionSet) -> None:
        self._session = session
        self._authority = Authority(session, held)
        self._keys = ApiKeyRepository(session)

    async def create(self, data: CreateApiKey) -> tuple[UUID, str]:
        """Make a key; answers its id and its token, which is kept nowhere."""
        if data.type == "secret":
            if data.role_id is None:
                raise _invalid("a secret key needs the role that says what it may do")
            await RoleRepository(self._session).get(data.role_id)
            await self._authority.to_give([data.role_id])
        elif data.role_id is not None:
            raise _invalid("a publishable key has no role")
        key, token = new_key(self._session.tenant, data.title, data.type, data.role_id)
        self._session.add(key)
        await self._session.flush()
        return key.id, token

    async def revoke(self, id: UUID) -> None:
        """Stop a key, from the next request on; once is enough."""
        key = await self._keys.get_for_update(id)
        key.revoked_at = key.revoked_at or utc_now()
        await self._session.flush()

    async def remove(self, id: UUID) -> None:
        key = await self._keys.get_for_update(id)
        if key.revoked_at is None:
            raise NotAllowedError("revoke the key before you delete it")
        await self._session.delete(key)
        await self._session.flush()


def new_key(tenant: str, title: str, kind: str, role_id: UUID | None) -> tuple[ApiKey, str]:
    """A key's row and its token."""
    made = make_api_key(kind, tenant)
    key = ApiKey(
        id=new_id(),
        kind=kind,
        title=title,
        token_hash=made.token_hash,
        redacted=made.redacted,
        role_id=role_id,
    )
    return key, made.token


def _invalid(message: str) -> InvalidDataError:
    return InvalidDataError(message, problems=[Problem(message, pointer="/role_id")])
