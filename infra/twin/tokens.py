"""The local issuer that stands for Cognito: it signs tokens, shows its keys, and checks tokens as API Gateway does."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from infra.twin.registry import Authorizer

_ALGORITHM = "RS256"
_KEY_ID = "twin"
_KEY_BITS = 2048
GROUPS_CLAIM = "cognito:groups"
LIFE_S = 30 * 86_400


class Issuer:
    """A key pair in the data folder."""

    def __init__(self, file: Path) -> None:
        if file.exists():
            key = serialization.load_pem_private_key(file.read_bytes(), None)
            self._key = cast("rsa.RSAPrivateKey", key)
            return
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set."""
        key: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": _KEY_ID, "use": "sig", "alg": _ALGORITHM}]}

    def token(self, authorizer: Authorizer, roles: Sequence[str], subject: str = "local") -> str:
        """A token as Cognito's id tokens are, with these roles."""
        now = int(time.time())
        claims = {
            "sub": subject,
            "iss": authorizer.issuer,
            "aud": authorizer.audience[0],
            "token_use": "id",
            "iat": now,
            "exp": now + LIFE_S,
            "jti": str(uuid.uuid4()),
            GROUPS_CLAIM: list(roles),
        }
        return jwt.encode(claims, self._key, _ALGORITHM, headers={"kid": _KEY_ID})

    def claims(self, authorizer: Authorizer, header: str | None) -> dict[str, str] | None:
        """The claims of a token as a function sees them (all text); None when the token does not pass."""
        token = (header or "").strip()
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key.public_key(),
                [_ALGORITHM],
                issuer=authorizer.issuer,
                options={"verify_aud": False, "require": ["exp", "iss"]},
            )
        except jwt.InvalidTokenError:
            return None
        # An access token names its client, an id token its audience.
        named = claims.get("aud", claims.get("client_id"))
        audiences = cast("list[Any]", named if isinstance(named, list) else [named])
        if not set(audiences) & set(authorizer.audience):
            return None
        return {name: _text(value) for name, value in claims.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(map(str, cast("list[Any]", value))) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
