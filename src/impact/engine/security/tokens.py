"""Bearer tokens (JWT, RFC 7519) and API keys."""

import hashlib
import math
import secrets
import time
from typing import Any
from uuid import UUID

import cachebox
import jwt
import msgspec

from impact.context import Actor, ActorKind, Claims, RequestContext
from impact.engine.db.consistency import format_token, parse_token
from impact.engine.db.tenancy import validate_slug
from impact.errors import InvalidDataError, UnauthorizedError
from impact.settings import Settings

ISSUER = "impact"
ALGORITHM = "HS256"
_MOST_READ = 4096
_AUDIENCES = {ActorKind.USER: "admin", ActorKind.CUSTOMER: "store"}


class Tokens:
    """Signs and reads the tokens of users and customers.

    The first signing key signs; every key verifies, by the ``kid`` in the token's header.
    Issuer, audience and algorithm are pinned, so a token for the store opens no admin route.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.keys
        self._signing_kid = next(iter(self._keys))
        self._ttl = settings.token_ttl
        self._read: cachebox.LRUCache[tuple[ActorKind, str], Claims] = cachebox.LRUCache(_MOST_READ)

    def issue(
        self,
        actor: Actor,
        *,
        ttl: int | None = None,
        made_in: RequestContext | None = None,
        logged_in: float | None = None,
    ) -> str:
        """A token for the actor, valid for ``ttl`` seconds (default: the setting). ``logged_in``
        is when the actor gave the password, if that is not now.

        With ``made_in``, the context that made the actor, the token also carries what that has
        written: whoever holds it is found, whichever replica it asks (P2).
        """
        # Rounded up: what ended all earlier tokens a moment ago must not end this one.
        now = math.ceil(time.time() * 1000) / 1000
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": _AUDIENCES[actor.kind],
            "sub": str(actor.id),
            "tenant": actor.tenant,
            "auth_time": now if logged_in is None else logged_in,
            "iat": now,
            "exp": int(now) + (ttl or self._ttl),
            "jti": secrets.token_hex(8),
        }
        if made_in is not None:
            claims["seen"] = format_token(made_in.token, made_in.raised_at)
        return jwt.encode(
            claims,
            self._keys[self._signing_kid],
            algorithm=ALGORITHM,
            headers={"kid": self._signing_kid},
        )

    def read(self, token: str, kind: ActorKind, context: RequestContext) -> Actor:
        """Who the token speaks for; what it has seen, the context sees too.

        Raises UnauthorizedError for any token but a valid one. A signature that was found good
        once is not computed again for the same token.
        """
        claims = self._read.get((kind, token))
        if claims is None:
            claims = self._verify(token, kind)
            self._read.insert((kind, token), claims)
        elif time.time() >= claims.expires:
            raise UnauthorizedError("the token has expired; log in again")
        context.claims = claims
        context.see(claims.seen, claims.raised_at)
        return claims.actor

    def _verify(self, token: str, kind: ActorKind) -> Claims:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys[str(kid)],
                algorithms=[ALGORITHM],
                audience=_AUDIENCES[kind],
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            actor = Actor(kind, validate_slug(claims["tenant"]), UUID(claims["sub"]))
            issued, expires = float(claims["iat"]), float(claims["exp"])
            logged_in = float(claims.get("auth_time", issued))
            seen = parse_token(claims.get("seen", "0"))
            return Claims(actor, logged_in, issued, expires, *seen)
        except jwt.ExpiredSignatureError:
            raise UnauthorizedError("the token has expired; log in again") from None
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, InvalidDataError):
            raise UnauthorizedError("the token is not valid") from None

    def digest(self, text: str) -> str:
        """Sixteen digits that are the same for the same text, and tell nothing to whoever does
        not hold the signing key."""
        key = self._keys[self._signing_kid].encode()[: hashlib.blake2b.MAX_KEY_SIZE]
        return hashlib.blake2b(
            text.encode(), key=key, person=b"impact digest", digest_size=8
        ).hexdigest()


class NewKey(msgspec.Struct, frozen=True):
    """A key just made: ``token`` is shown once, ``token_hash`` is kept."""

    token: str
    token_hash: bytes
    redacted: str


def make_api_key(kind: str, tenant: str) -> NewKey:
    """A key of 192 random bits. The tenant stands in it, so that it finds its own shop."""
    prefix = "pk" if kind == "publishable" else "sk"
    token = f"{prefix}_{tenant}_{secrets.token_urlsafe(24)}"
    return NewKey(token, hash_api_key(token), f"{token[: len(prefix) + len(tenant) + 5]}***")


def hash_api_key(token: str) -> bytes:
    """SHA-256: enough for a random key, which no dictionary holds."""
    return hashlib.sha256(token.encode()).digest()


def tenant_of_api_key(token: str, kind: str) -> str:
    """The tenant a key names. Raises UnauthorizedError for what is no key of this kind."""
    prefix, _, rest = token.partition("_")
    tenant, _, secret = rest.partition("_")
    if prefix != ("pk" if kind == "publishable" else "sk") or not secret:
        raise UnauthorizedError(f"this is not a {kind} API key")
    try:
        return validate_slug(tenant)
    except InvalidDataError:
        raise UnauthorizedError(f"this is not a {kind} API key") from None
